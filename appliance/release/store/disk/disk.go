// Package disk keeps the releases of a node in a folder of its persistent
// partition, so that a power cut or a provider that is gone takes none of them
// away:
//
//	blobs/sha256/<hex>           an artifact, by its digest, whole
//	blobs/sha256/<hex>.part      one that is being downloaded
//	releases/<hex>.json          a signed manifest, by the digest of its payload
//	root/<version>.json          the roots after the one in the rootfs
//	floor/<channel>-<arch>.json  the newest manifest that was ever verified
//
// A blob gets its name once its bytes are on the disk, and a manifest is written
// once all blobs it names are there. So every state that a power cut can leave
// is one to start from: what is half done has no name, and is gone on with or
// deleted. Nothing here is believed: a manifest is verified whenever it is read,
// and the bytes of a blob are hashed by whoever loads or serves them.
//
// One process writes the folder (update), others read it.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

const (
	blobFolder  = "blobs/sha256"
	floorFolder = "floor"

	// maxReleases is how many manifests are read; a store keeps few.
	maxReleases = 64
)

// Store is a folder of releases. Its methods that write are for one process, and
// one goroutine.
type Store struct{ path string }

// Open opens a store to read it. One that is not there is fs.ErrNotExist.
func Open(path string) (*Store, error) {
	info, err := os.Stat(filepath.Join(path, layout.ReleaseFolder))
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", info.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	return &Store{path}, nil
}

// Create opens a store to write it: it makes the folders and deletes what
// writes that were cut short have left.
func Create(path string) (*Store, error) {
	s := &Store{path}
	for _, folder := range []string{filepath.Dir(blobFolder), blobFolder, layout.ReleaseFolder, layout.RootFolder, floorFolder} {
		if err := s.makeFolder(folder); err != nil {
			return nil, fmt.Errorf("making the store: %w", err)
		}
	}
	// The name of the store itself must last as long as what is in it.
	if err := statefile.SyncFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("making the store: %w", err)
	}
	return s, errors.Join(s.deleteTemporary(blobFolder), s.deleteTemporary(layout.ReleaseFolder), s.deleteTemporary(layout.RootFolder), s.deleteTemporary(floorFolder))
}

// makeFolder makes a folder of the store. What has its name and is no folder,
// as a damaged file system may leave, is in the way and is deleted.
func (s *Store) makeFolder(name string) error {
	path := s.join(name)
	if info, err := os.Lstat(path); err == nil && !info.IsDir() {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return statefile.SyncFolder(filepath.Dir(path))
}

// deleteTemporary deletes what is in a folder and has no name of the store's, as a
// file that was being written when the power went, and what has one and is no plain
// file: nothing could be written in its place.
func (s *Store) deleteTemporary(folder string) error {
	entries, err := os.ReadDir(s.join(folder))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		named := known(folder, e.Name())
		if named && e.Type().IsRegular() {
			continue
		}
		if named {
			slog.Warn(fmt.Sprintf("in the store, %s is no plain file and is deleted", filepath.Join(folder, e.Name())))
		}
		errs = append(errs, os.RemoveAll(s.join(folder, e.Name())))
	}
	return errors.Join(errs...)
}

// known says whether a name in a folder of the store is one that it uses.
func known(folder, name string) bool {
	switch folder {
	case blobFolder:
		_, err := names.ParseDigest("sha256:" + strings.TrimSuffix(name, layout.PartSuffix))
		return err == nil
	case layout.ReleaseFolder:
		_, ok := releaseName(name)
		return ok
	case layout.RootFolder:
		_, ok := layout.RootVersion(name)
		return ok
	}
	for _, channel := range names.Channels {
		for _, arch := range names.Arches {
			if name == floorName(channel, arch) {
				return true
			}
		}
	}
	return false
}

func (s *Store) join(parts ...string) string {
	return filepath.Join(append([]string{s.path}, parts...)...)
}

func (s *Store) blob(d names.Digest) string { return s.join(blobFolder, d.Hex()) }

func (s *Store) release(d names.Digest) string { return s.join(layout.ReleaseFolder, d.Hex()+".json") }

func releaseName(file string) (names.Digest, bool) {
	hex, ok := strings.CutSuffix(file, ".json")
	d, err := names.ParseDigest("sha256:" + hex)
	return d, ok && err == nil
}

// Release is a release in the store.
type Release struct {
	trust.Verified
	// Missing are the artifacts that the store does not have whole, sorted:
	// they were found damaged, or the disk lost them.
	Missing []string
}

// Whole says whether every artifact is there. Their bytes are checked by those
// who read them.
func (r Release) Whole() bool { return r.Valid() && len(r.Missing) == 0 }

// Problem is a file of the store that is not used, and why.
type Problem struct {
	File string // below the store
	Err  error
}

func (p Problem) String() string { return p.File + ": " + p.Err.Error() }

// Releases are the releases for an arch that root vouches for, newest first, and
// what else there is. A damaged manifest costs its release alone.
func (s *Store) Releases(root trust.Root, arch string) ([]Release, []Problem) {
	entries, err := os.ReadDir(s.join(layout.ReleaseFolder))
	if err != nil {
		return nil, []Problem{{layout.ReleaseFolder, err}}
	}
	var list []Release
	var problems []Problem
	for _, e := range entries {
		d, ok := releaseName(e.Name())
		if !ok {
			continue // it is being written
		}
		if len(list) == maxReleases {
			problems = append(problems, Problem{layout.ReleaseFolder, fmt.Errorf("there are more than %d releases", maxReleases)})
			break
		}
		v, err := s.read(root, d, arch)
		if err != nil {
			problems = append(problems, Problem{filepath.Join(layout.ReleaseFolder, e.Name()), err})
			continue
		}
		list = append(list, Release{v, s.Missing(v)})
	}
	slices.SortFunc(list, func(a, b Release) int { return compare(b.Verified, a.Verified) })
	return list, problems
}

func (s *Store) read(root trust.Root, d names.Digest, arch string) (trust.Verified, error) {
	data, err := statefile.ReadCapped(s.release(d), envelope.MaxBytes)
	if err != nil {
		return trust.Verified{}, err
	}
	v, err := root.VerifyHeld(data, trust.Any, arch)
	if err == nil && v.Digest() != d {
		return trust.Verified{}, refusal.New(refusal.Digest, "it is release %s", v.Digest())
	}
	return v, err
}

// compare orders by version, and then by digest, so that the order is one.
func compare(a, b trust.Verified) int {
	x, y := a.Digest(), b.Digest()
	if va, vb := a.Manifest().Version, b.Manifest().Version; va != vb {
		if va < vb {
			return -1
		}
		return 1
	}
	return slices.Compare(x[:], y[:])
}

// Missing names the artifacts of a release that the store does not have, sorted.
// It looks at sizes alone.
func (s *Store) Missing(v trust.Verified) []string {
	missing := []string{}
	for name, a := range v.Manifest().Artifacts {
		if !s.has(a) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

func (s *Store) has(a manifest.Artifact) bool {
	info, err := os.Lstat(s.blob(a.SHA256))
	return err == nil && info.Mode().IsRegular() && info.Size() == a.Size
}

// errNoFile is what has the name of an artifact and cannot be one: a link may lead to
// bytes without end.
var errNoFile = errors.New("it is no plain file")

// Blob opens an artifact. Who reads it checks its bytes.
func (s *Store) Blob(d names.Digest) (*os.File, error) {
	info, err := os.Lstat(s.blob(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the store does not have %s: %w", d, fs.ErrNotExist)
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s of the store: %w", d, errNoFile)
	}
	if err != nil {
		return nil, err
	}
	return os.Open(s.blob(d))
}

// BlobPath is the file of an artifact.
func (s *Store) BlobPath(d names.Digest) string { return s.blob(d) }

// Damaged deletes an artifact whose bytes are not what its name says, so that it
// is fetched again. The releases that it is part of are not whole until then.
func (s *Store) Damaged(d names.Digest) error {
	if err := os.RemoveAll(s.blob(d)); err != nil { // a folder may be in its place
		return fmt.Errorf("deleting a damaged artifact: %w", err)
	}
	return statefile.SyncFolder(s.join(blobFolder))
}
