// Package staging brings a release into a folder of releases.
package staging

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// Folder is a destination of files: each artifact grows in NAME.part and gets
// its name once everything is there.
type Folder struct {
	Dir   string
	parts []*part
}

// part is one artifact on its way.
type part struct {
	*os.File
	have int64
	name string // the file it becomes
}

// Holds says whether the folder has an artifact already, whole and right.
func (f *Folder) Holds(ctx context.Context, name string, want manifest.Artifact) (bool, error) {
	file, err := os.Open(filepath.Join(f.Dir, layout.FileName(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at what is there: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() != want.Size {
		return false, err
	}
	sum := sha256.New()
	for {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if _, err := io.CopyN(sum, file, 1<<20); err == io.EOF {
			break
		} else if err != nil {
			return false, fmt.Errorf("looking at what is there: %w", err)
		}
	}
	return names.Digest(sum.Sum(nil)) == want.SHA256, nil
}

// Region opens NAME.part, and keeps what an earlier run left in it.
func (f *Folder) Region(name string, size int64) (fetch.Region, error) {
	target := filepath.Join(f.Dir, layout.FileName(name))
	file, err := os.OpenFile(target+".part", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p := &part{File: file, name: target}
	f.parts = append(f.parts, p)
	p.have, err = prefix(file, size)
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

// prefix is how many bytes from the start a run that was killed may have
// written without a gap. Several providers leave several gaps; where the file
// system does not tell them, the digest will.
func prefix(file *os.File, size int64) (int64, error) {
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
func (f *Folder) Commit(envelope []byte) error {
	file := filepath.Join(f.Dir, layout.ManifestFile)
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, envelope) && len(f.parts) == 0 {
		return nil
	}
	// Whoever serves the folder meanwhile should not wait for the disk.
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
	return writeFile(file, envelope)
}

// Close closes the files.
func (f *Folder) Close() {
	for _, p := range f.parts {
		p.Close()
	}
}

// writeFile puts a file in place whole, and on the disk.
func writeFile(path string, data []byte) error {
	part := path + ".part"
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return nil
}

func rootPath(dir string, root trust.Root) string {
	return filepath.Join(dir, "root", strconv.FormatUint(root.Version(), 10)+".json")
}

// CheckRoot refuses a folder that has another root of the same version: plasmd
// would refuse to serve what is brought there.
func CheckRoot(dir string, root trust.Root) error {
	path := rootPath(dir, root)
	data, err := statefile.ReadCapped(path, envelope.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the folder's root: %w", err)
	}
	if !bytes.Equal(data, root.Raw()) {
		return fmt.Errorf("%s is another root than the one given, and plasmd serve would believe it; choose another folder, or remove it", path)
	}
	return nil
}

// KeepRoot puts the root beside the releases it vouches for.
func KeepRoot(dir string, root trust.Root) error {
	path := rootPath(dir, root)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keeping the root: %w", err)
	}
	return writeFile(path, root.Raw())
}

// Lock keeps other runs out of a folder: two that replace the same files take
// each other's away. The kernel forgets the lock with the process.
func Lock(dir string) (unlock func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("locking the folder: %w", err)
	}
	// A file system that knows no locks is used without.
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		d.Close()
		return nil, refusal.New(refusal.Busy, "another fetch is at work in %s; wait for its end, or choose another folder", dir)
	}
	return d.Close, nil
}
