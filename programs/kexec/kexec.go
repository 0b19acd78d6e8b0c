// Package kexec is the command line of appliance/release/kexec: it takes a
// release from a folder, verifies it, loads it and has init jump into it.
package kexec

import (
	"context"
	"fmt"
	"io"
	"os"

	"phase/appliance/base/program"
	"phase/appliance/base/ui/bar"
	"phase/appliance/release/kexec"
	"phase/appliance/release/roots"
)

const about = "Verify a release from a folder, load it and jump into it."

type commandLine struct {
	roots.Flag
	Store   string `short:"s" required:"" placeholder:"DIR" help:"Folder of releases, CHANNEL/ARCH/manifest.json, as fetch makes it; with --boot the store of a node."`
	Release uint64 `placeholder:"V" help:"The version to take; the newest for this machine when not given."`
	State   string `default:"/run/phase" placeholder:"DIR" help:"Where init's boot.json is (${default})."`
	DryRun  bool   `short:"n" help:"Verify everything and say what would be done; load nothing."`
	Boot    bool   `help:"Jump into the release of a node's store that should run instead of the one on its boot disk, if there is one (init does this before it starts the services)."`
	JSON    bool   `name:"json" short:"j" help:"Print one JSON object."`
}

// answer is what is about to be loaded.
type answer struct {
	Version uint64 `json:"version"`
	Name    string `json:"name"`
	Channel string `json:"channel"`
	Arch    string `json:"arch"`
	Digest  string `json:"digest"`
	Cmdline string `json:"cmdline"`
	Loaded  bool   `json:"loaded"`
}

// Run is the program. After a jump it does not return, since the machine does
// not; 1 means that nothing was loaded or that init will not jump.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var cli commandLine
	if _, err := program.Parse("kexec", about, &cli, args, stdout, stderr); err != nil {
		return err
	}
	if cli.Boot {
		if cli.DryRun || cli.Release != 0 {
			return program.Usagef("--boot chooses and jumps by itself; leave --dry-run and --release out")
		}
		return cli.boot(ctx, stdout)
	}
	trusted, err := cli.LoadRoots()
	if err != nil {
		return err
	}
	store, err := os.OpenRoot(cli.Store)
	if err != nil {
		return fmt.Errorf("opening the folder of releases: %w", err)
	}
	defer store.Close()
	found, err := kexec.Choose(store, trusted.Last(), cli.Release)
	if err != nil {
		return err
	}
	defer found.Close()
	options, err := kexec.OnNode(cli.State, "")
	if err != nil && cli.DryRun { // which does without a node around it
		options, err = kexec.OffNode()
	} else if err != nil {
		return fmt.Errorf("%w; only a node jumps, elsewhere use --dry-run", err)
	}
	if err != nil {
		return err
	}
	if cli.DryRun {
		if err := kexec.Ready(ctx, found.Verified, options); err != nil {
			return err
		}
		options, stderr = options.DryRun(), io.Discard
	}
	var total int64
	for _, a := range found.Manifest().Artifacts {
		total += a.Size
	}
	shown := bar.Start(stderr, "reading", total)
	staging, err := found.Stage(ctx, options, shown.Add)
	shown.Close()
	if err != nil {
		return err
	}
	defer staging.Close()
	if err := staging.Load(ctx); err != nil {
		return err
	}
	if err := tell(stdout, cli, staging); err != nil || cli.DryRun {
		return err
	}
	return kexec.Jump(ctx, found.Verified)
}

func tell(stdout io.Writer, cli commandLine, s *kexec.Staging) error {
	m := s.Release().Manifest()
	a := answer{m.Version, m.Name, m.Channel, m.Arch, s.Release().Digest().String(), s.Cmdline(), !cli.DryRun}
	if cli.JSON {
		return program.PrintJSON(stdout, a)
	}
	what := "loaded"
	if cli.DryRun {
		what = "would load"
	}
	_, err := fmt.Fprintf(stdout, "%s version %d (%s, %s, %s) %s\ncommand line: %s\n", what, a.Version, a.Name, a.Channel, a.Arch, a.Digest, a.Cmdline)
	return err
}
