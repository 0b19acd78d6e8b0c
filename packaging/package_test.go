package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/daemon/config"
)

// content is all that a package must have, and no more, with its mode: a link has
// that of where it points to.
var content = map[string]fs.FileMode{
	"/etc/phase/plasmd.toml":                           0o644,
	"/usr/bin/phase":                                   fs.ModeSymlink,
	"/usr/bin/plasmd":                                  fs.ModeSymlink,
	"/usr/lib/phase/phase":                             0o755,
	"/usr/lib/phase/phase-worker":                      0o755,
	"/usr/lib/systemd/system/plasmd.service":           0o644,
	"/usr/lib/sysusers.d/phase.conf":                   0o644,
	"/usr/share/bash-completion/completions/plasmd":    0o644,
	"/usr/share/doc/phase/changelog.gz":                0o644,
	"/usr/share/doc/phase/copyright":                   0o644,
	"/usr/share/doc/phase/licences.gz":                 0o644,
	"/usr/share/fish/vendor_completions.d/plasmd.fish": 0o644,
	"/usr/share/lintian/overrides/phase":               0o644,
	"/usr/share/man/man1/phase-discover.1.gz":          0o644,
	"/usr/share/man/man1/phase-fetch.1.gz":             0o644,
	"/usr/share/man/man1/phase-verify.1.gz":            0o644,
	"/usr/share/man/man1/phase.1.gz":                   0o644,
	"/usr/share/man/man1/plasmd.1.gz":                  0o644,
	"/usr/share/zsh/vendor-completions/_plasmd":        0o644,
}

// member is one file of an archive.
type member struct {
	header *tar.Header
	data   []byte
}

// unpacked is what dpkg-deb reads out of a package, folders left out.
func unpacked(t *testing.T, which string, deb []byte) map[string]member {
	t.Helper()
	file := filepath.Join(t.TempDir(), "phase.deb")
	if err := os.WriteFile(file, deb, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "dpkg-deb", which, file).Output()
	if err != nil {
		t.Fatal("dpkg-deb:", err)
	}
	members := map[string]member{}
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
		if h.Typeflag != tar.TypeDir {
			members["/"+strings.TrimPrefix(h.Name, "./")] = member{h, data}
		}
	}
}

// programs builds those of this machine.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"phase", "phase-worker"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", dir, "phase/programs/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

func plain(t *testing.T, packed []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPackage(t *testing.T) {
	dir := programs(t)
	p := Package{Version: "0.7", Arch: runtime.GOARCH, Time: time.Unix(1795975009, 0).UTC(), Programs: dir, Own: filepath.Join(dir, "phase")}
	deb, err := p.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files := unpacked(t, "--fsys-tarfile", deb)
	for name, mode := range content {
		f, ok := files[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		if mode != fs.ModeSymlink && f.header.FileInfo().Mode() != mode || mode == fs.ModeSymlink && f.header.Linkname != "../lib/phase/phase" {
			t.Errorf("%s: %v %q", name, f.header.FileInfo().Mode(), f.header.Linkname)
		}
		if !f.header.ModTime.Equal(p.Time) {
			t.Errorf("%s is of %v", name, f.header.ModTime)
		}
	}
	for name := range files {
		if _, ok := content[name]; !ok {
			t.Errorf("%s is not in the list", name)
		}
	}
	if c, err := config.Parse(files[configPath].data); err != nil || *c.Socket != set["socket"] || *c.SocketGroup != Name || *c.Data != set["data"] || c.Network.Accept != nil {
		t.Errorf("the configuration says %+v, %v", c, err)
	}
	manuals(t, files, p.Own)
	licences := plain(t, files["/usr/share/doc/phase/licences.gz"].data)
	for _, module := range []string{"std\n", "github.com/libp2p/go-libp2p v", "github.com/tetratelabs/wazero v"} {
		if !strings.Contains(licences, module) {
			t.Errorf("the licence of %q is missing", module)
		}
	}
	control(t, unpacked(t, "--ctrl-tarfile", deb))
}

// manuals: that of plasmd has each command and flag of the help texts, and that of
// phase each program that has one.
func manuals(t *testing.T, files map[string]member, own string) {
	t.Helper()
	page := func(name string) string {
		return strings.ReplaceAll(plain(t, files["/usr/share/man/man1/"+name+".1.gz"].data), `\-`, "-")
	}
	text := page("plasmd")
	for _, of := range [][]string{{}, {"start"}, {"run"}, {"update", "apply"}} {
		help, err := exec.CommandContext(t.Context(), own, append(append([]string{"plasmd"}, of...), "--help")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		words := regexp.MustCompile(`(?m)^  +(?:-\w, )?(--[a-z-]+)|^  ([a-z-]+(?: [a-z]+)?)   `).FindAllStringSubmatch(string(help), -1)
		if len(words) < 3 {
			t.Fatalf("%v: the help was not read:\n%s", of, help)
		}
		for _, m := range words {
			if word := m[1] + m[2]; !strings.Contains(text, word) {
				t.Errorf("plasmd(1) does not name %q of plasmd %s", word, strings.Join(of, " "))
			}
		}
	}
	for _, name := range []string{"plasmd", "phase-discover", "phase-fetch", "phase-verify"} {
		if !strings.HasPrefix(page(name), ".TH "+strings.ToUpper(name)+" 1 ") || !strings.Contains(page("phase"), ".BR "+name+" (1)") {
			t.Errorf("%s has no page, or phase(1) does not name it", name)
		}
	}
}

// control: what dpkg is told, and the scripts, which a shell can read.
func control(t *testing.T, files map[string]member) {
	t.Helper()
	for _, line := range []string{"Package: phase\n", "Version: 0.7\n", "Architecture: " + runtime.GOARCH + "\n", "Maintainer: " + maintainer + "\n", "Depends: systemd |"} {
		if !strings.Contains(string(files["/control"].data), line) {
			t.Errorf("control has no line %q:\n%s", line, files["/control"].data)
		}
	}
	if got := string(files["/conffiles"].data); got != configPath+"\n" {
		t.Errorf("conffiles: %q", got)
	}
	for _, name := range []string{"preinst", "postinst", "prerm", "postrm"} {
		script := files["/"+name]
		sh := exec.CommandContext(t.Context(), "sh", "-n")
		sh.Stdin = bytes.NewReader(script.data)
		if out, err := sh.CombinedOutput(); err != nil || script.header == nil || script.header.Mode != 0o755 || bytes.Contains(script.data, []byte("@VERSION@")) {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}

// walls are the lines by which the service is shut in; taking one out is a decision.
var walls = []string{
	"User=phase", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "AmbientCapabilities=", "RestrictSUIDSGID=yes", "UMask=0077",
	"ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes", "PrivateMounts=yes", "DevicePolicy=closed", "ProtectProc=invisible",
	"ProtectClock=yes", "ProtectHostname=yes", "ProtectKernelLogs=yes", "ProtectKernelModules=yes", "ProtectKernelTunables=yes", "ProtectControlGroups=yes",
	"RestrictNamespaces=yes", "RestrictRealtime=yes", "LockPersonality=yes", "SystemCallArchitectures=native", "SystemCallFilter=~@privileged",
	"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK", "StateDirectory=phase", "StateDirectoryMode=0700", "RuntimeDirectory=phase",
}

func TestService(t *testing.T) {
	text, err := own.ReadFile("files/plasmd.service")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, wall := range walls {
		if !slices.Contains(lines, wall) {
			t.Errorf("plasmd.service has no line %q", wall)
		}
	}
	if !slices.Contains(lines, "ExecStart=/usr/bin/plasmd start --config "+configPath) {
		t.Error("the service does not start plasmd with its configuration")
	}
}
