// Package kexec is the command line of appliance/release/kexec: it takes a release from
// a folder, verifies it, loads it and has init jump into it.
package kexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/machine/linux"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots"
	"phase/appliance/release/trust"
)

const about = "Verify a release from a folder, load it and jump into it."

type commandLine struct {
	roots.Flag
	Store   string `short:"s" required:"" placeholder:"DIR" help:"Folder of releases, CHANNEL/ARCH/manifest.json, as fetch makes it."`
	Release uint64 `placeholder:"V" help:"The version to take; the newest for this machine when not given."`
	State   string `default:"/run/phase" placeholder:"DIR" help:"Where init's boot.json is (${default})."`
	DryRun  bool   `short:"n" help:"Verify everything and say what would be done; load nothing."`
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
	root, err := cli.LoadRoot()
	if err != nil {
		return err
	}
	store, err := os.OpenRoot(cli.Store)
	if err != nil {
		return fmt.Errorf("opening the folder of releases: %w", err)
	}
	defer store.Close()
	found, err := choose(store, root, cli.Release)
	if err != nil {
		return err
	}
	options, err := machine(cli)
	if err != nil {
		return err
	}
	if cli.DryRun {
		return dryRun(ctx, stdout, cli, found, options)
	}
	return jump(ctx, stdout, stderr, cli, found, options)
}

// candidate is a verified manifest and the folder its artifacts are in.
type candidate struct {
	release trust.Verified
	dir     *os.Root
}

// choose verifies the manifests of every channel and returns the version asked
// for, or the newest. What does not verify is no candidate; when nothing does,
// the reasons are the error.
func choose(store *os.Root, root trust.Root, version uint64) (candidate, error) {
	var best candidate
	var problems []error
	arch := names.RunningArch()
	for _, channel := range names.Channels {
		dir := channel + "/" + arch
		data, err := readFile(store, dir+"/"+layout.ManifestFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var v trust.Verified
		if err == nil {
			v, err = root.VerifyHeld(data, channel, arch)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", dir, err))
			continue
		}
		number := v.Manifest().Version
		if version != 0 && number != version || best.release.Valid() && number <= best.release.Manifest().Version {
			continue
		}
		sub, err := store.OpenRoot(dir)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if best.dir != nil {
			best.dir.Close()
		}
		best = candidate{v, sub}
	}
	if best.release.Valid() {
		return best, nil
	}
	if err := errors.Join(problems...); err != nil {
		return candidate{}, err
	}
	if version != 0 {
		return candidate{}, fmt.Errorf("%s holds no version %d for %s", store.Name(), version, arch)
	}
	return candidate{}, fmt.Errorf("%s holds no release for %s; fetch one with: fetch --output %s", store.Name(), arch, store.Name())
}

func readFile(dir *os.Root, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, strictjson.MaxBytes+1)) // one more is refused as too long
}

// machine describes this machine. A dry run does without a node around it.
func machine(cli commandLine) (kexec.Options, error) {
	options, err := kexec.OnNode(cli.State, "")
	if err == nil {
		return options, nil
	}
	if !cli.DryRun {
		return kexec.Options{}, fmt.Errorf("%w; only a node jumps, elsewhere use --dry-run", err)
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return kexec.Options{}, fmt.Errorf("reading the running command line: %w", err)
	}
	return kexec.Options{
		Kernel: &linux.Recorder{}, Running: strings.TrimSpace(string(cmdline)), Memory: linux.ReadMemory,
		Freeable: func(context.Context) int64 { return 0 },
	}, nil
}

func dryRun(ctx context.Context, stdout io.Writer, cli commandLine, c candidate, o kexec.Options) error {
	if err := kexec.Ready(ctx, c.release, o); err != nil {
		return err
	}
	// As far as it goes without touching the machine: everything is read and
	// verified, and no service is paused.
	o.Kernel = &linux.Recorder{}
	o.Pause = func(context.Context) error { return nil }
	o.Resume = o.Pause
	staging, err := stage(ctx, io.Discard, c, o)
	if err != nil {
		return err
	}
	defer staging.Close()
	if err := staging.Load(ctx); err != nil {
		return err
	}
	return tell(stdout, cli, staging, false)
}

func jump(ctx context.Context, stdout, stderr io.Writer, cli commandLine, c candidate, o kexec.Options) error {
	staging, err := stage(ctx, stderr, c, o)
	if err != nil {
		return err
	}
	defer staging.Close()
	if err := staging.Load(ctx); err != nil {
		return err
	}
	if err := tell(stdout, cli, staging, true); err != nil {
		return err
	}
	return kexec.Jump(ctx, c.release)
}

// stage copies the artifacts of the folder into their place. They are verified
// there, not here: what counts are the bytes that are loaded.
func stage(ctx context.Context, stderr io.Writer, c candidate, o kexec.Options) (*kexec.Staging, error) {
	staging, err := kexec.Stage(ctx, c.release, o)
	if err != nil {
		return nil, err
	}
	artifacts := c.release.Manifest().Artifacts
	var total int64
	for _, a := range artifacts {
		total += a.Size
	}
	bar := ui.Progress(stderr, "reading", total)
	defer bar.Close()
	for _, name := range staging.Names() {
		if err := copyInto(ctx, staging, c.dir, name, artifacts[name].Size, bar); err != nil {
			return nil, errors.Join(fmt.Errorf("reading %s: %w", name, err), staging.Close())
		}
	}
	return staging, nil
}

func copyInto(ctx context.Context, staging *kexec.Staging, dir *os.Root, name string, size int64, bar *ui.Bar) error {
	f, err := dir.Open(layout.FileName(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != size {
		return refusal.New(refusal.Size, "the file has %d bytes, signed are %d", info.Size(), size)
	}
	region, err := staging.Region(name, size)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 {
			return fmt.Errorf("at %d of %d bytes: %w", at, size, err)
		}
		if _, err := region.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
		bar.Add(int64(n))
	}
	return nil
}

func tell(stdout io.Writer, cli commandLine, s *kexec.Staging, loaded bool) error {
	m := s.Release().Manifest()
	a := answer{m.Version, m.Name, m.Channel, m.Arch, s.Release().Digest().String(), s.Cmdline(), loaded}
	if cli.JSON {
		data, err := strictjson.MarshalIndent(a)
		if err != nil {
			return err
		}
		_, err = stdout.Write(data)
		return err
	}
	what := "would load"
	if loaded {
		what = "loaded"
	}
	_, err := fmt.Fprintf(stdout, "%s version %d (%s, %s, %s) %s\ncommand line: %s\n", what, a.Version, a.Name, a.Channel, a.Arch, a.Digest, a.Cmdline)
	return err
}
