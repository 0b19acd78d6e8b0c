package disk

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"

	"golang.org/x/sys/unix"
)

// Download is a release on its way into the store. It is a fetch.Destination for
// the artifacts that are missing.
type Download struct {
	store   *Store
	release trust.Verified
	parts   []*part
}

// part is one artifact on its way.
type part struct {
	*os.File
	have   int64
	digest names.Digest
}

// Begin prepares for a release. What an earlier download left of its artifacts
// is used again.
func (s *Store) Begin(v trust.Verified) (*Download, error) {
	if !v.Valid() {
		return nil, refusal.New(refusal.Signature, "only a verified release can be kept")
	}
	return &Download{store: s, release: v}, nil
}

// Release is what is downloaded.
func (d *Download) Release() trust.Verified { return d.release }

// Missing are the artifacts that are to be fetched.
func (d *Download) Missing() []string { return d.store.Missing(d.release) }

// Region opens the place of an artifact and claims its room on the disk, so that
// a disk that fills up meanwhile does not break a write.
func (d *Download) Region(name string, size int64) (fetch.Region, error) {
	a, ok := d.release.Manifest().Artifacts[name]
	if !ok || a.Size != size {
		return nil, fmt.Errorf("version %d has no artifact %q of %d bytes", d.release.Manifest().Version, name, size)
	}
	file, err := os.OpenFile(d.store.blob(a.SHA256)+layout.PartSuffix, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	p := &part{File: file, digest: a.SHA256}
	if p.have, err = claim(file, size); err != nil {
		return nil, errors.Join(fmt.Errorf("claiming room on the disk: %w", err), file.Close())
	}
	d.parts = append(d.parts, p)
	return p, nil
}

// claim makes a file as long as its artifact will be and returns how many bytes
// an earlier download may have left.
func claim(file *os.File, size int64) (have int64, err error) {
	if have, err = staging.Prefix(file, size); err != nil {
		return 0, err
	}
	if err := unix.Fallocate(int(file.Fd()), 0, 0, size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return 0, errors.Join(err, file.Truncate(have))
	}
	return have, file.Truncate(size)
}

// Have is how much an earlier download left.
func (p *part) Have() int64 { return p.have }

// Keep cuts the file to what a later download can go on from, once that is on
// the disk.
func (p *part) Keep(prefix int64) error {
	if err := statefile.Sync(p.File); err != nil {
		return err
	}
	return p.Truncate(prefix)
}

// Commit gives the artifacts their names, which must be whole and right as fetch
// leaves them, and then writes the manifest. After a power cut the release is
// there with all its bytes, or it is not there.
func (d *Download) Commit() error {
	s := d.store
	for _, p := range d.parts {
		if err := statefile.Sync(p.File); err != nil {
			return fmt.Errorf("keeping %s: %w", p.digest, err)
		}
	}
	for _, p := range d.parts {
		if err := os.Rename(p.Name(), s.blob(p.digest)); err != nil {
			return fmt.Errorf("keeping %s: %w", p.digest, err)
		}
	}
	if err := statefile.SyncFolder(s.join(blobFolder)); err != nil {
		return err
	}
	if missing := s.Missing(d.release); len(missing) > 0 {
		return fmt.Errorf("version %d is not whole: %q", d.release.Manifest().Version, missing)
	}
	return statefile.Replace(s.release(d.release.Digest()), d.release.Envelope(), 0o644)
}

// Close ends the work. Parts that were not committed stay for the next time.
func (d *Download) Close() error {
	var errs []error
	for _, p := range d.parts {
		errs = append(errs, p.Close())
	}
	d.parts = nil
	return errors.Join(errs...)
}

// sizeOf adds up the artifacts named, each digest once.
func sizeOf(artifacts map[string]manifest.Artifact, wanted []string) (sum int64) {
	var seen []names.Digest
	for _, name := range wanted {
		if a := artifacts[name]; !slices.Contains(seen, a.SHA256) {
			seen = append(seen, a.SHA256)
			sum += a.Size
		}
	}
	return sum
}
