package images

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/release/diskimage"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/chain"
	"phase/kernel"
)

// releaseFlags say which release. The variables as_version, as_name, as_created
// and as_expires are the defaults in words.
type releaseFlags struct {
	Channel     string    `short:"c" default:"stable" help:"Channel: stable, testing or nightly."`
	Version     *uint64   `name:"release-version" help:"Version number, monotonic per channel and arch (default: ${basis})." placeholder:"N"`
	Name        string    `help:"Name for people (default: ${basis})."`
	Created     time.Time `help:"RFC 3339 (default: ${basis})."`
	Expires     time.Time `help:"RFC 3339 (default: 180 days after --created; without that ${basis})."`
	Rollout     *int      `help:"Offer it to so many percent of the nodes first, 0 to 100 (default: all; signed again, as before)." placeholder:"PERCENT"`
	RolloutSeed string    `help:"Draw those nodes by this text (default: by the digest of the rootfs)." placeholder:"TEXT"`
	Keys        string    `short:"k" default:"build/keys" help:"Folder of the release key and the root document." type:"path"`
	Arch        string    `short:"A" default:"x86_64" help:"x86_64 or arm64."`
}

type buildCommand struct {
	releaseFlags `set:"basis=by the time of the commit"`
	Checkout     string   `default:"." help:"Folder of go.mod." type:"path"`
	Out          string   `short:"o" default:"build" help:"Folder for what is made." type:"path"`
	From         string   `help:"Assemble from pieces compiled before (OUT/pieces/ARCH) instead of compiling." type:"path"`
	Set          []string `short:"s" help:"A line of phase.conf, such as phase.mode=local; may be repeated." placeholder:"KEY=VALUE" sep:"none"`
	Export       string   `type:"path" help:"Make no release: write its manifest to FILE, for others to sign with 'images sign --key KEY FILE', and the exact bytes that a signature covers to FILE.pae." placeholder:"FILE"`
	Import       []string `sep:"none" type:"path" help:"Make the release whose manifest in FILE others have signed; it must come out the same. Copies that each signed are put together. May be repeated." placeholder:"FILE"`
	DiskID       string   `help:"Seed of the disk's identifiers (default: the manifest's digest)."`
	NoDisk       bool     `help:"Make the folder of releases alone."`
	Board        string   `help:"Make the disk image for a board too: rpi, the Raspberry Pi 3, 4, 5 and Zero 2 (with --arch arm64)." placeholder:"BOARD"`
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
	if c.Export != "" {
		return c.export(ctx, spec, out)
	}
	r, err := Assemble(ctx, spec)
	if err != nil {
		return err
	}
	if err := c.list(ctx, spec, out); err != nil {
		return err
	}
	if c.JSON {
		answer := summary(r.Manifest, r.Digest, r.Folder)
		answer["disk"], answer["zstd"], answer["qcow2"], answer["netboot"] = spec.Disk, spec.Zstd, spec.QCOW2, spec.Netboot
		if spec.Board != nil {
			answer["board_disk"] = spec.BoardDisk
		}
		return out.json(answer)
	}
	fmt.Fprintf(out.stdout, "%s, in %s\n", headline(r.Manifest, r.Digest), ui.Duration(time.Since(started)))
	weights := Weigh(c.Out, r.Manifest)
	return errors.Join(Sizes(out.stdout, weights), tooLarge(weights))
}

// wanted is the Spec that the flags and the commit describe, without pieces. It
// makes keys first when --make-keys is given.
func (c *buildCommand) wanted(ctx context.Context, out output) (Spec, error) {
	signed, err := c.signed()
	if err != nil {
		return Spec{}, err
	}
	if err := c.check(); err != nil {
		return Spec{}, err
	}
	if _, err := diskimage.Conf(c.Set); err != nil {
		return Spec{}, program.Usagef("--set: %w", err)
	}
	board, err := c.board()
	if err != nil {
		return Spec{}, err
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
	spec, err := c.spec(c.Export == "" && signed == nil)
	spec.Signed = signed
	spec.Conf, spec.DiskID, spec.Rollout = c.Set, []byte(c.DiskID), c.rollout(nil)
	spec.Release = filepath.Join(c.Out, "release")
	if !c.NoDisk {
		spec.Disk = imagePath(c.Out, c.Arch, "img")
		spec.Zstd = spec.Disk + zstdSuffix
		spec.Netboot = filepath.Join(c.Out, "netboot", c.Arch)
	}
	if board != nil {
		spec.Board, spec.BoardDisk = board, boardPath(c.Out, *board)
	}
	if !c.NoDisk && !c.NoQCOW2 {
		spec.QCOW2 = imagePath(c.Out, c.Arch, "qcow2")
	}
	return spec, err
}

// board is that of --board; nil without it.
func (c *buildCommand) board() (*kernel.Board, error) {
	if c.Board == "" {
		return nil, nil
	}
	b, err := kernel.BoardFor(c.Board)
	if err == nil && b.Arch != c.Arch {
		err = fmt.Errorf("%s takes --arch %s", b.Name, b.Arch)
	}
	if err != nil {
		return nil, program.Usagef("--board: %w", err)
	}
	return &b, nil
}

// list signs what was made, with what was made before for the other arch.
func (c *buildCommand) list(ctx context.Context, spec Spec, out output) error {
	if c.NoDisk {
		return nil
	}
	if err := ListImages(ctx, c.Out, spec.Channel, spec.Roots.Last(), spec.Key); err != nil {
		return err
	}
	if spec.Key == nil {
		fmt.Fprintf(out.stderr, "images: %s is not signed yet: have it signed with 'images sign --key KEY %[1]s'\n", filepath.Join(c.Out, listFile))
	}
	return nil
}

// imagePath is where build leaves an image: ext is img or qcow2.
func imagePath(out, arch, ext string) string { return filepath.Join(out, "phase-"+arch+"."+ext) }

// pieces compiles, or finds what was compiled before.
func (c *buildCommand) pieces(ctx context.Context, out output) (Pieces, error) {
	if c.From == "" {
		source := Source{Checkout: c.Checkout, Arch: c.Arch, Board: c.Board, Name: c.Name, Time: c.Created, Dir: filepath.Join(c.Out, "pieces", c.Arch)}
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
// checked, with the key of the folder unless others sign.
func (f *releaseFlags) spec(signs bool) (Spec, error) {
	load := LoadKeys
	if !signs {
		load = func(dir string) (ed25519.PrivateKey, chain.Chain, error) {
			trusted, err := LoadRoots(dir)
			return nil, trusted, err
		}
	}
	key, trusted, err := load(f.Keys)
	s := Spec{Key: key, Roots: trusted, Channel: f.Channel, Name: f.Name, Created: f.Created, Expires: f.Expires}
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
	if f.Rollout != nil && (*f.Rollout < 0 || *f.Rollout > 100) {
		return program.Usagef("--rollout: percent are 0 to 100")
	}
	if f.RolloutSeed != "" && f.Rollout == nil {
		return program.Usagef("--rollout-seed draws nobody without --rollout PERCENT")
	}
	if f.Version != nil && *f.Version == 0 {
		return program.Usagef("--release-version: the least is 1")
	}
	if !f.Created.IsZero() && !f.Expires.IsZero() {
		return checkLifetime(f.Created, f.Expires)
	}
	return nil
}

// makes says whether the flags decide something about the manifest.
func (f *releaseFlags) makes() bool {
	return f.Version != nil || f.Name != "" || !f.Created.IsZero() || !f.Expires.IsZero() || f.Rollout != nil || f.RolloutSeed != ""
}

// rollout is what the flags make of the rollout before. All nodes need none.
func (f *releaseFlags) rollout(before *manifest.Rollout) *manifest.Rollout {
	r := manifest.Rollout{Percent: 100}
	if before != nil {
		r = *before
	}
	if f.Rollout != nil {
		r.Percent = *f.Rollout
	}
	if f.RolloutSeed != "" {
		r.Seed = f.RolloutSeed
	}
	if r.Percent == 100 {
		return nil
	}
	return &r
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
	seconds, err := git(ctx, checkout, "log", "-1", "--format=%ct")
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
		if changed, err := git(ctx, checkout, "status", "--porcelain"); err == nil && changed != "" {
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
