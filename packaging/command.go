// Package packaging makes what people install without a checkout: the Debian package
// of Phase, with its programs, what a shell and man know of them, a configuration and
// a service with a user of its own; and the archive of the SDK for PHP.
package packaging

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
)

// general is what each package needs.
type general struct {
	Version string `name:"package-version" required:"" placeholder:"V" help:"Version of the package, like 0.1795975009."`
	Time    int64  `required:"" placeholder:"SECONDS" help:"Time of every file, since 1970; that of the commit."`
	Out     string `short:"o" default:"build" placeholder:"DIR" help:"Where the package is written (${default})."`
	JSON    bool   `name:"json" short:"j" help:"Print one JSON object."`
}

type commandLine struct {
	Deb struct {
		general
		Arch     string `type:"arch" short:"A" default:"x86_64" help:"x86_64 (amd64) or arm64."`
		Programs string `required:"" type:"existingdir" placeholder:"DIR" help:"The programs for that arch."`
		Own      string `required:"" type:"existingfile" placeholder:"FILE" help:"The one binary for this machine: it tells its manual pages and completions."`
	} `cmd:"" help:"The Debian package of programs that were built."`
	PHP struct {
		general
		Checkout string `default:"." placeholder:"DIR" help:"Folder of go.mod."`
	} `cmd:"" name:"php" help:"The SDK for PHP, as an archive for Composer."`
}

// debianArch is what Debian calls an arch.
var debianArch = map[string]string{"x86_64": "amd64", "arm64": "arm64"}

// version is what dpkg and Composer both take for one.
var version = regexp.MustCompile(`^[0-9]{1,5}(\.[0-9]+){0,3}$`)

// Run is the program.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var c commandLine
	command, err := program.Parse("packaging", "Make packages of what was built.", &c, args, stdout, stderr)
	if err != nil {
		return err
	}
	if command == "php" {
		return c.PHP.write(stdout, "phase-sdk-"+c.PHP.Version+".zip", func(when time.Time) ([]byte, error) {
			return archivePHP(c.PHP.Checkout, c.PHP.Version, when)
		})
	}
	arch, err := names.ParseArch(c.Deb.Arch)
	if err != nil {
		return program.Usagef("--arch: %w", err)
	}
	p := Package{Version: c.Deb.Version, Arch: debianArch[arch], Programs: c.Deb.Programs, Own: c.Deb.Own}
	return c.Deb.write(stdout, p.FileName(), func(when time.Time) ([]byte, error) {
		p.Time = when
		return p.Build(ctx)
	})
}

// write makes a package and puts it where it was asked for.
func (g general) write(stdout io.Writer, name string, build func(time.Time) ([]byte, error)) error {
	if !version.MatchString(g.Version) {
		return program.Usagef("--package-version: %.40q is no version of a package; it is up to four numbers with a full stop between them", g.Version)
	}
	data, err := build(time.Unix(g.Time, 0).UTC())
	if err != nil {
		return fmt.Errorf("making %s: %w", name, err)
	}
	path := filepath.Join(g.Out, name)
	if err := os.MkdirAll(g.Out, 0o755); err != nil {
		return err
	}
	if err := statefile.Replace(path, data, 0o644); err != nil {
		return err
	}
	if g.JSON {
		return program.PrintJSON(stdout, map[string]any{"path": path, "bytes": len(data)})
	}
	_, err = fmt.Fprintf(stdout, "%s, %s\n", path, ui.Bytes(int64(len(data))))
	return err
}
