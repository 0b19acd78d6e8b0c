// Package staging brings a release into a folder of releases: each artifact
// grows in NAME.part and gets its name once all of them are whole, what an
// interrupted run left is used again, and the manifest is written last, so that
// a folder with one is whole.
package staging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// Folder is the place of one release in a folder of releases. No other Folder
// can be opened there until it is closed. It is a fetch.Destination.
type Folder struct {
	release trust.Verified
	dir     *os.File // locked
	parts   []*part
}

// part is one artifact on its way.
type part struct {
	*os.File
	have int64
	name string // the file it becomes
}

// Open makes the place of a release below dir. It is "busy" while another
// process has it.
func Open(dir string, v trust.Verified) (*Folder, error) {
	if !v.Valid() {
		return nil, refusal.New(refusal.Signature, "only a verified release can be kept")
	}
	m := v.Manifest()
	path := filepath.Join(dir, layout.Release(m.Channel, m.Arch))
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	d, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("locking the folder: %w", err)
	}
	// Two that replace the same files take each other's away. The kernel forgets
	// the lock with the process; a file system that knows no locks is used
	// without.
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		d.Close()
		return nil, refusal.New(refusal.Busy, "another fetch is at work in %s; wait for its end, or choose another folder", path)
	}
	return &Folder{release: v, dir: d}, nil
}

// Close ends the work on the folder. Parts that were not committed stay for the
// next time.
func (f *Folder) Close() error {
	for _, p := range f.parts {
		p.Close()
	}
	return f.dir.Close()
}

func (f *Folder) path(file string) string { return filepath.Join(f.dir.Name(), file) }

// Missing are those of the artifacts wanted that the folder does not have yet,
// whole and right.
func (f *Folder) Missing(ctx context.Context, wanted []string) (missing []string, err error) {
	m := f.release.Manifest()
	for _, name := range slices.Compact(slices.Sorted(slices.Values(wanted))) {
		want, ok := m.Artifacts[name]
		if !ok {
			return nil, fmt.Errorf("version %d has no artifact %q", m.Version, name)
		}
		held, err := holds(ctx, f.path(layout.FileName(name)), want)
		if err != nil {
			return nil, fmt.Errorf("looking at what is there: %w", err)
		}
		if !held {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func holds(ctx context.Context, path string, want manifest.Artifact) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() != want.Size {
		return false, err
	}
	is, err := manifest.Measure(ctx, file)
	return is == want, err
}

// Region opens NAME.part, and keeps what an earlier run left in it.
func (f *Folder) Region(name string, size int64) (fetch.Region, error) {
	target := f.path(layout.FileName(name))
	file, err := os.OpenFile(target+layout.PartSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p := &part{File: file, name: target}
	f.parts = append(f.parts, p)
	p.have, err = Prefix(file, size)
	return p, err
}

// Have is how much an earlier run left.
func (p *part) Have() int64 { return p.have }

// Keep cuts the file to what a later run can go on from.
func (p *part) Keep(prefix int64) error { return p.Truncate(prefix) }

// seekHole is SEEK_HOLE of lseek(2): the first byte, from the offset on, that
// was never written.
const seekHole = 4

// holeMargin is taken off before a hole: a run that was killed can leave the
// last write before it half done, and a file system counts in blocks.
const holeMargin = 256 << 10

// Prefix is how many bytes from the start a run that was killed may have
// written without a gap. Several providers leave several gaps; where the file
// system does not tell them, the digest will.
func Prefix(file *os.File, size int64) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > size {
		return 0, file.Truncate(0) // another artifact's
	}
	hole, err := file.Seek(0, seekHole)
	if err != nil || hole >= info.Size() {
		return info.Size(), nil
	}
	return max(0, hole-holeMargin), nil
}

// Commit gives the parts their names and writes the manifest. While files are
// replaced there is none: a manifest beside files it does not describe would
// be a lie.
func (f *Folder) Commit() error {
	file, envelope := f.path(layout.ManifestFile), f.release.Envelope()
	if old, err := statefile.ReadCapped(file, int64(len(envelope))); err == nil && bytes.Equal(old, envelope) && len(f.parts) == 0 {
		return nil
	}
	// Those who serve the folder meanwhile should not wait for the disk.
	for _, p := range f.parts {
		if err := p.Sync(); err != nil {
			return fmt.Errorf("keeping %s: %w", filepath.Base(p.name), err)
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("taking the old manifest away: %w", err)
	}
	for _, p := range f.parts {
		if err := os.Rename(p.Name(), p.name); err != nil {
			return fmt.Errorf("keeping %s: %w", filepath.Base(p.name), err)
		}
	}
	return statefile.Replace(file, envelope, 0o644)
}
