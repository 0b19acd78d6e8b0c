// Package lab sets up what the end-to-end tests, the demo and the machine
// benchmarks share: signed releases assembled from one compilation, the disks
// they boot from, and nodes on a segment, known only by their serial console
// and their own HTTP.
package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
	"phase/images"
	"phase/qemu"
)

// Lab is a checkout's build folder, for one arch.
type Lab struct {
	Arch   string
	Build  string             // the build folder: pieces, keys, examples
	Dir    string             // where this lab keeps its own releases and disks
	Key    ed25519.PrivateKey // signs releases
	Roots  chain.Chain
	Root   trust.Root // the last of them
	Pieces images.Pieces
}

// Open finds what `make image` left in build. What the lab makes goes to dir.
func Open(build, dir, arch string) (*Lab, error) {
	l := &Lab{Arch: arch, Build: build, Dir: dir}
	var err error
	if l.Pieces, err = images.LoadPieces(filepath.Join(build, "pieces", arch)); err != nil {
		return nil, fmt.Errorf("%w; run `make image ARCH=%s` first", err, arch)
	}
	if arch == qemu.X86_64 {
		// An emulator that gets too little time loses ticks; the kernel counts
		// some as it begins, and panics over a timer that does not work.
		l.Pieces.Kernel.Options = strings.TrimSpace(l.Pieces.Kernel.Options + " no_timer_check")
	}
	if l.Key, l.Roots, err = images.LoadKeys(filepath.Join(build, "keys")); err != nil {
		return nil, err
	}
	l.Root = l.Roots.Last()
	return l, os.MkdirAll(dir, 0o755)
}

// WithOtherKeys is a lab with the same pieces and another root: what it signs is
// valid under that root, and the nodes of l refuse it.
func (l *Lab) WithOtherKeys() (*Lab, error) {
	other := *l
	other.Dir = filepath.Join(l.Dir, "other-keys")
	keys := filepath.Join(other.Dir, "keys")
	_, err := images.MakeKeys(keys, rand.Reader, time.Now())
	if err == nil {
		other.Key, other.Roots, err = images.LoadKeys(keys)
		other.Root = other.Roots.Last()
	}
	return &other, err
}

// Release is a release with its disk image and the folder a provider serves.
type Release struct {
	images.Result
	Disk string     // raw image
	Root trust.Root // that it is built for
}

// Change alters a release before it is signed.
type Change func(*images.Spec)

// Conf puts settings into the disk's phase.conf.
func Conf(settings ...string) Change { return func(s *images.Spec) { s.Conf = settings } }

// NoDisk makes the release's folder alone.
func NoDisk(s *images.Spec) { s.Disk = "" }

// Release assembles and signs version, "stable" unless changed.
func (l *Lab) Release(ctx context.Context, version uint64, changes ...Change) (Release, error) {
	name := fmt.Sprintf("%s-%d", l.Arch, version)
	dir, err := os.MkdirTemp(l.Dir, name+"-")
	if err != nil {
		return Release{}, err
	}
	spec := images.Spec{
		Pieces: l.Pieces, Key: l.Key, Roots: l.Roots,
		Channel: "stable", Version: version, Name: fmt.Sprintf("test %d", version),
		// Made yesterday, so that a clock some hours off does not matter.
		Created: time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second),
		Release: filepath.Join(dir, "release"),
		Disk:    filepath.Join(dir, "disk.img"),
	}
	for _, change := range changes {
		change(&spec)
	}
	result, err := images.Assemble(ctx, spec)
	if err != nil {
		return Release{}, fmt.Errorf("making version %d: %w", version, err)
	}
	return Release{Result: result, Disk: spec.Disk, Root: spec.Roots.Last()}, nil
}

// File is the path of an artifact of r.
func (r Release) File(artifact string) string {
	return filepath.Join(r.Folder, layout.FileName(artifact))
}

// Clean removes what the lab made, which is large.
func (l *Lab) Clean() error { return os.RemoveAll(l.Dir) }
