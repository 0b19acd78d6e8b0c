package packaging

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"

	"phase/appliance/compute/worker"
)

// own are the files of the package that nothing is put into.
//
//go:embed files
var own embed.FS

// Name is the name of the package, of its user and of its folders.
const Name = "phase"

const (
	maintainer  = "Phase maintainers <maintainers@phase.invalid>"
	description = `serves and verifies an operating system, runs jobs with receipts
Phase is an operating system made only of Go programs on a Linux kernel, which
serves itself to the next machine. This package makes a Debian machine a node
of its network: plasmd serves signed releases, and runs WebAssembly jobs with
signed receipts. phase fetch, phase verify and phase discover look for
releases, download and check them.
.
Jobs that come over the network are refused until the configuration says whose
may run.`
)

// Package is what to make a package of.
type Package struct {
	Version  string    // as dpkg has it
	Arch     string    // Debian's name of it
	Time     time.Time // of every file in it
	Programs string    // a folder with phase and phase-worker for that arch
	Own      string    // phase for this machine
}

// FileName is what Debian calls the file of such a package.
func (p Package) FileName() string { return Name + "_" + p.Version + "_" + p.Arch + ".deb" }

// entry is a file or a link in the package.
type entry struct {
	to     string // where it lies
	from   string // a file to copy; what a link points to
	text   []byte // the content otherwise
	mode   fs.FileMode
	kind   string // of nfpm; "" for a file
	packed bool   // with gzip
}

// programsDir holds the two programs: the worker's own lies beside the one that
// starts it, and is none to call.
const programsDir = "/usr/lib/phase"

// entries are all that is in the package.
func (p Package) entries(ctx context.Context) ([]entry, error) {
	list := []entry{
		{to: programsDir + "/phase", from: filepath.Join(p.Programs, "phase"), mode: 0o755},
		{to: programsDir + "/" + worker.File, from: filepath.Join(p.Programs, worker.File), mode: 0o755},
		{to: "/usr/bin/phase", from: "../lib/phase/phase", kind: files.TypeSymlink},
		{to: "/usr/bin/plasmd", from: "../lib/phase/phase", kind: files.TypeSymlink},
		{to: "/usr/share/doc/phase/changelog.gz", text: p.changelog(), packed: true},
	}
	for to, name := range map[string]string{
		"/usr/lib/systemd/system/plasmd.service": "plasmd.service",
		"/usr/lib/sysusers.d/phase.conf":         "phase.sysusers",
		"/usr/share/doc/phase/copyright":         "copyright",
		"/usr/share/lintian/overrides/phase":     "lintian-overrides",
		"/usr/share/man/man1/phase.1.gz":         "phase.1",
	} {
		text, err := own.ReadFile(path.Join("files", name))
		if err != nil {
			return nil, err
		}
		list = append(list, entry{to: to, text: text, packed: strings.HasSuffix(to, ".gz")})
	}
	config, err := configuration()
	if err != nil {
		return nil, err
	}
	list = append(list, entry{to: configPath, text: config, kind: files.TypeConfig})
	licences, err := p.licences(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, entry{to: "/usr/share/doc/phase/licences.gz", text: licences, packed: true})
	told, err := p.told(ctx)
	return append(list, told...), err
}

// changelog is that of a package without a history of its own: it names what it
// was made of.
func (p Package) changelog() []byte {
	return fmt.Appendf(nil, "phase (%s) unstable; urgency=medium\n\n  * Made of the commit of %s.\n\n -- %s  %s\n",
		p.Version, p.Time.Format(time.DateTime+" UTC"), maintainer, p.Time.Format(time.RFC1123Z))
}

// Build makes the package; the same inputs give the same bytes.
func (p Package) Build(ctx context.Context) ([]byte, error) {
	list, err := p.entries(ctx)
	if err != nil {
		return nil, err
	}
	// The library takes files alone.
	dir, err := os.MkdirTemp("", "phase-deb-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: Name, Arch: p.Arch, Platform: "linux", Version: p.Version, VersionSchema: "none", Section: "net", Priority: "optional",
		Maintainer: maintainer, Description: description, License: "Apache-2.0", MTime: p.Time, DisableGlobbing: true,
	})
	info.Depends = []string{"systemd | systemd-standalone-sysusers | systemd-sysusers"}
	info.Deb.Compression = "xz"
	for i, e := range list {
		c, err := e.staged(filepath.Join(dir, fmt.Sprint(i)), p.Time)
		if err != nil {
			return nil, err
		}
		info.Contents = append(info.Contents, c)
	}
	for name, to := range map[string]*string{
		"preinst": &info.Scripts.PreInstall, "postinst": &info.Scripts.PostInstall,
		"prerm": &info.Scripts.PreRemove, "postrm": &info.Scripts.PostRemove,
	} {
		text, err := own.ReadFile(path.Join("files", name))
		if err != nil {
			return nil, err
		}
		*to = filepath.Join(dir, name)
		if err := os.WriteFile(*to, bytes.ReplaceAll(text, []byte("@VERSION@"), []byte(p.Version)), 0o755); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	if err := deb.Default.Package(info, &out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// staged puts the content of an entry where the library finds it.
func (e entry) staged(at string, when time.Time) (*files.Content, error) {
	c := &files.Content{Source: e.from, Destination: e.to, Type: e.kind, FileInfo: &files.ContentFileInfo{MTime: when, Mode: e.mode}}
	if e.kind == files.TypeSymlink {
		return c, nil
	}
	if e.mode == 0 {
		c.FileInfo.Mode = 0o644
	}
	if e.text == nil {
		_, err := os.Stat(e.from)
		return c, err
	}
	text := e.text
	if e.packed {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err == nil {
			_, err = z.Write(text)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return nil, err
		}
		text = b.Bytes()
	}
	c.Source = at
	return c, os.WriteFile(at, text, 0o644)
}
