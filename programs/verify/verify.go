// Package verify is the command line of package trust: it checks a manifest,
// and if asked the files it names, against a root, and prints every check with
// its answer.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots"
	"phase/appliance/release/trust"
)

const about = "Check a release manifest, and files, against the root of trust."

type commandLine struct {
	roots.Flag
	Floor    uint64   `short:"f" placeholder:"N" help:"Refuse a version below N; N itself passes."`
	Arch     string   `type:"arch" short:"A" default:"any" help:"The arch it must be for: x86_64, arm64 or any (${default})."`
	Channel  string   `type:"channel" short:"c" default:"any" help:"The channel it must be on: stable, testing, nightly or any (${default})."`
	Now      string   `short:"n" placeholder:"RFC3339" help:"Judge expiry at this time instead of the clock's."`
	JSON     bool     `name:"json" short:"j" help:"Print one JSON object instead of a line a check."`
	Artifact []string `short:"a" sep:"none" placeholder:"NAME=FILE" help:"Check FILE against what the manifest says of artifact NAME. May be repeated."`
	Manifest string   `arg:"" help:"The manifest's envelope, manifest.json; - reads standard input."`
}

// answer is what --json prints. Manifest is the signed payload itself, null
// when it is not signed.
type answer struct {
	OK       bool           `json:"ok"`
	Checks   []trust.Check  `json:"checks"`
	Manifest strictjson.Raw `json:"manifest"`
}

type file struct{ artifact, path string }

// Run is the program. It ends with 0 when every check holds, 1 when one does
// not or an input cannot be read, 2 on a command line it cannot use.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var cli commandLine
	if _, err := program.Parse("verify", about, &cli, args, stdout, stderr); err != nil {
		return err
	}
	policy, files, err := cli.policy(time.Now())
	if err != nil {
		return err
	}
	data, err := read(cli.Manifest, stdin)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	var result answer
	trusted, err := cli.LoadRoots()
	var refused *refusal.Refusal
	switch {
	case errors.As(err, &refused): // a root that is none is an answer too
		result.Checks = []trust.Check{{Name: "root", Code: refused.Code, Detail: refused.Detail}}
	case err != nil:
		return err
	default:
		if result, err = examine(ctx, data, trusted.Last(), policy, files); err != nil {
			return err
		}
	}
	if err := result.print(stdout, cli.JSON); err != nil {
		return err
	}
	if !result.OK {
		return program.Exit{Code: 1}
	}
	return nil
}

// policy reads what the flags ask for; what they do not say is not
// required of the manifest.
func (c commandLine) policy(clock time.Time) (trust.Policy, []file, error) {
	p := trust.Policy{Channel: c.Channel, Arch: c.Arch, Floor: c.Floor, Now: clock}
	if c.Now != "" {
		var err error
		if p.Now, err = time.Parse(time.RFC3339, c.Now); err != nil {
			return p, nil, program.Usagef("--now %q is not a time like 2026-11-23T12:00:00Z", c.Now)
		}
	}
	var files []file
	for _, text := range c.Artifact {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" || path == "" {
			return p, nil, program.Usagef("--artifact %q is not NAME=FILE", text)
		}
		if artifact, ok := layout.ArtifactName(name); ok {
			name = artifact // vmlinuz is the kernel
		}
		files = append(files, file{name, path})
	}
	return p, files, nil
}

// examine gathers the answer. Once the manifest is known to be signed, every
// check is made, so that one run names all there is to say.
func examine(ctx context.Context, data []byte, root trust.Root, p trust.Policy, files []file) (answer, error) {
	var a answer
	a.Checks = root.Check(data, p)
	// What is signed may be shown and held against files even if it is not
	// what was asked for, or no longer good.
	if signed, err := root.VerifyHeld(data, trust.Any, trust.Any); err == nil {
		a.Manifest = signed.Payload()
		for _, f := range files {
			check, err := checkArtifact(ctx, signed.Manifest(), f)
			if err != nil {
				return a, err
			}
			a.Checks = append(a.Checks, check)
		}
	}
	a.OK = true
	for _, c := range a.Checks {
		a.OK = a.OK && c.OK
	}
	return a, nil
}

func (a answer) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return program.PrintJSON(w, a)
	}
	for _, c := range a.Checks {
		word, detail := "ok", c.Detail
		if !c.OK {
			word, detail = "FAIL", fmt.Sprintf("%s (%s)", c.Detail, c.Code)
		}
		if _, err := fmt.Fprintf(w, "%s %s: %s\n", word, ui.Clean(c.Name), ui.Clean(detail)); err != nil {
			return fmt.Errorf("printing the answer: %w", err)
		}
	}
	return nil
}

// read returns at most one byte more than an envelope may have, so that a
// longer one is refused for its size and not read to its end.
func read(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(stdin, envelope.MaxBytes+1))
	}
	return statefile.ReadCapped(path, envelope.MaxBytes)
}
