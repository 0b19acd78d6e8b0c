package images

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/tool"
	"phase/appliance/base/ui"
)

// releaseFlags say which release. The variables as_version, as_name, as_created
// and as_expires are the defaults in words.
type releaseFlags struct {
	Channel string    `short:"c" default:"stable" help:"Channel: stable, testing or nightly."`
	Version *uint64   `name:"release-version" help:"Version number, monotonic per channel and arch (default: ${basis})." placeholder:"N"`
	Name    string    `help:"Name for people (default: ${basis})."`
	Created time.Time `help:"RFC 3339 (default: ${basis})."`
	Expires time.Time `help:"RFC 3339 (default: 180 days after --created; without that ${basis})."`
	Keys    string    `short:"k" default:"build/keys" help:"Folder of the release key and the root document." type:"path"`
	Arch    string    `short:"A" default:"x86_64" help:"x86_64 or arm64."`
}

type buildCommand struct {
	releaseFlags `set:"basis=by the time of the commit"`
	Checkout     string   `default:"." help:"Folder of go.mod." type:"path"`
	Out          string   `short:"o" default:"build" help:"Folder for what is made." type:"path"`
	From         string   `help:"Assemble from pieces compiled before (OUT/pieces/ARCH) instead of compiling." type:"path"`
	Set          []string `short:"s" help:"A line of phase.conf, such as phase.mode=local; may be repeated." placeholder:"KEY=VALUE" sep:"none"`
	DiskID       string   `help:"Seed of the disk's identifiers (default: the manifest's digest)."`
	NoDisk       bool     `help:"Make the folder of releases alone."`
	NoQCOW2      bool     `name:"no-qcow2" help:"Leave out the image for virtual machines."`
	Verbose      bool     `short:"v" help:"Show what gok and the compiler say."`
	JSON         bool     `name:"json" short:"j" help:"Answer in JSON."`
	MakeKeys     bool     `help:"Make keys first if the folder has none."`
}

func (c *buildCommand) run(ctx context.Context, out output) error {
	spec, err := c.wanted(ctx, out)
	if err != nil {
		return err
	}
	started := time.Now()
	if spec.Pieces, err = c.pieces(ctx, out); err != nil {
		return err
	}
	r, err := Assemble(ctx, spec)
	if err != nil {
		return err
	}
	if c.JSON {
		answer := summary(r.Manifest, r.Digest, r.Folder)
		answer["disk"], answer["qcow2"] = spec.Disk, spec.QCOW2
		return out.json(answer)
	}
	fmt.Fprintf(out.stdout, "%s, in %s\n", headline(r.Manifest, r.Digest), ui.Duration(time.Since(started)))
	weights := Weigh(c.Out, r.Manifest)
	return errors.Join(Sizes(out.stdout, weights), tooLarge(weights))
}

// wanted is the Spec that the flags and the commit describe, without pieces. It
// makes keys first when --make-keys is given.
func (c *buildCommand) wanted(ctx context.Context, out output) (Spec, error) {
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	if _, err := Conf(c.Set); err != nil {
		return Spec{}, program.Usagef("--set: %w", err)
	}
	if err := c.fill(ctx, c.Checkout, out); err != nil {
		return Spec{}, err
	}
	if err := c.check(); err != nil { // an expiry against the commit's time
		return Spec{}, err
	}
	if c.MakeKeys {
		made, err := MakeKeys(c.Keys, rand.Reader, time.Now())
		if err != nil {
			return Spec{}, err
		}
		if made {
			fmt.Fprintln(out.stderr, madeKeys(c.Keys))
		}
	}
	spec, err := c.spec()
	spec.Conf, spec.DiskID = c.Set, []byte(c.DiskID)
	spec.Release = filepath.Join(c.Out, "release")
	if !c.NoDisk {
		spec.Disk = imagePath(c.Out, c.Arch, "img")
	}
	if !c.NoDisk && !c.NoQCOW2 {
		spec.QCOW2 = imagePath(c.Out, c.Arch, "qcow2")
	}
	return spec, err
}

// imagePath is where build leaves an image: ext is img or qcow2.
func imagePath(out, arch, ext string) string { return filepath.Join(out, "phase-"+arch+"."+ext) }

// pieces compiles, or finds what was compiled before.
func (c *buildCommand) pieces(ctx context.Context, out output) (Pieces, error) {
	if c.From == "" {
		source := Source{Checkout: c.Checkout, Arch: c.Arch, Name: c.Name, Time: c.Created, Dir: filepath.Join(c.Out, "pieces", c.Arch)}
		if c.Verbose {
			source.Log = out.stderr
		}
		fmt.Fprintf(out.stderr, "compiling %s for %s\n", c.Name, c.Arch)
		return Compile(ctx, source)
	}
	p, err := LoadPieces(c.From)
	if err == nil && p.Kernel.Arch != c.Arch {
		err = fmt.Errorf("%s holds pieces for %s, not %s", c.From, p.Kernel.Arch, c.Arch)
	}
	return p, err
}

// spec is the part of a Spec that follows from the flags, once they were
// checked.
func (f *releaseFlags) spec() (Spec, error) {
	key, root, err := LoadKeys(f.Keys)
	s := Spec{Key: key, Root: root, Channel: f.Channel, Name: f.Name, Created: f.Created, Expires: f.Expires}
	if f.Version != nil {
		s.Version = *f.Version
	}
	return s, err
}

// check refuses flags that make no valid release, and replaces an alias of the
// arch by its name.
func (f *releaseFlags) check() (err error) {
	if f.Arch, err = parseArch(f.Arch); err != nil {
		return err
	}
	if f.Channel, err = parseChannel("--channel", f.Channel); err != nil {
		return err
	}
	if f.Version != nil && *f.Version == 0 {
		return program.Usagef("--release-version: the least is 1")
	}
	if !f.Created.IsZero() && !f.Expires.IsZero() {
		return checkLifetime(f.Created, f.Expires)
	}
	return nil
}

func checkLifetime(created, expires time.Time) error {
	if !expires.After(created) {
		return program.Usagef("--expires: %s is not after the release was created, %s", expires.Format(time.RFC3339), created.Format(time.RFC3339))
	}
	return nil
}

// fill takes from the commit what the flags leave open.
func (f *releaseFlags) fill(ctx context.Context, checkout string, out output) error {
	if f.Version != nil && f.Name != "" && !f.Created.IsZero() {
		return nil
	}
	// The checkout may be another user's; git is only asked to read it.
	git := func(args ...string) (string, error) {
		answer, err := tool.Command{Name: "git", Args: append([]string{"-c", "safe.directory=*"}, args...), Dir: checkout}.Run(ctx)
		return strings.TrimSpace(string(answer)), err
	}
	seconds, err := git("log", "-1", "--format=%ct")
	if err != nil {
		return fmt.Errorf("asking git for the commit's time (or give --release-version, --name and --created): %w", err)
	}
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("reading the commit's time: %w", err)
	}
	if f.Version == nil {
		version := uint64(at)
		f.Version = &version
		if changed, err := git("status", "--porcelain"); err == nil && changed != "" {
			fmt.Fprintln(out.stderr, "images: the tree is not as committed, and the version is the commit's; give --release-version to tell builds apart")
		}
	}
	if f.Created.IsZero() {
		f.Created = time.Unix(at, 0).UTC()
	}
	if f.Name == "" {
		f.Name = f.Created.UTC().Format("2006.01.02")
	}
	return nil
}

type keyCommand struct {
	Dir  string `arg:"" optional:"" default:"build/keys" help:"The folder (build/keys)." type:"path"`
	JSON bool   `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *keyCommand) run(_ context.Context, out output) error {
	made, err := MakeKeys(c.Dir, rand.Reader, time.Now())
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		return out.json(map[string]any{"made": made, "folder": c.Dir, "root": filepath.Join(c.Dir, rootDocument)})
	case made:
		_, err = fmt.Fprintln(out.stdout, madeKeys(c.Dir))
	default:
		_, err = fmt.Fprintf(out.stdout, "%s has keys already: nothing was changed\n", c.Dir)
	}
	return err
}

func madeKeys(dir string) string {
	return fmt.Sprintf("made keys in %s: keep root.pem offline, release.pem signs releases", dir)
}
