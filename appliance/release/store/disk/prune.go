package disk

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/release/layout"
	"phase/appliance/release/trust"

	"golang.org/x/sys/unix"
)

// Reserve is what stays free on the disk beside the store, for all else that is
// kept there: the history of jobs, the journal of trials, the identity.
const Reserve = 16 << 20

// MakeRoom makes room for what is missing of a release. It deletes what no
// manifest names, and then releases from the end of the list, oldest first, which
// keep says may go. When the disk is too small even so, nothing more is deleted
// and the error is a *refusal.Refusal, "size".
func (s *Store) MakeRoom(v trust.Verified, list []Release, keep func(Release) bool) error {
	need := sizeOf(v.Manifest().Artifacts, s.Missing(v)) + Reserve
	if err := s.deleteUnnamed(list, v, true); err != nil {
		return err
	}
	need -= s.begun(v) // that room is claimed already
	free, err := s.Free()
	if err != nil {
		return err
	}
	// What would be freed is known only once it is: blobs are shared.
	left := list
	for i := len(list) - 1; i >= 0 && free < need; i-- {
		if r := list[i]; !keep(r) && r.Digest() != v.Digest() {
			left = without(left, r.Digest())
			if err := errors.Join(s.deleteRelease(r.Digest()), s.deleteUnnamed(left, v, true)); err != nil {
				return err
			}
			if free, err = s.Free(); err != nil {
				return err
			}
		}
	}
	if free < need {
		return refusal.New(refusal.Size, "the disk has %s free and %s are needed to keep version %d; it works from memory alone until the disk is larger",
			ui.Bytes(free), ui.Bytes(need), v.Manifest().Version)
	}
	return nil
}

// begun is what the disk has of a release in parts, in bytes.
func (s *Store) begun(v trust.Verified) (sum int64) {
	for _, name := range s.Missing(v) {
		var st unix.Stat_t
		if unix.Stat(s.blob(v.Manifest().Artifacts[name].SHA256)+layout.PartSuffix, &st) == nil {
			sum += st.Blocks * 512
		}
	}
	return sum
}

// Prune deletes the releases that keep says may go, and what no manifest names.
// Downloads that were cut short stay, to be gone on with; MakeRoom deletes those of
// other releases.
func (s *Store) Prune(list []Release, keep func(Release) bool) error {
	left := list
	for _, r := range list {
		if !keep(r) {
			if err := s.deleteRelease(r.Digest()); err != nil {
				return err
			}
			left = without(left, r.Digest())
		}
	}
	// A manifest that nothing vouches for may be of a good release whose root was
	// damaged: it goes when its room is needed, and so do its blobs.
	entries, err := os.ReadDir(s.join(layout.ReleaseFolder))
	if err != nil || len(entries) > len(left) {
		return err
	}
	return s.deleteUnnamed(left, trust.Verified{}, false)
}

func without(list []Release, d names.Digest) (left []Release) {
	for _, r := range list {
		if r.Digest() != d {
			left = append(left, r)
		}
	}
	return left
}

// deleteRelease deletes a manifest; its blobs follow with deleteUnnamed. In this
// order no manifest is left that names what is not there.
func (s *Store) deleteRelease(d names.Digest) error {
	if err := os.Remove(s.release(d)); err != nil {
		return fmt.Errorf("deleting a release: %w", err)
	}
	return statefile.SyncFolder(s.join(layout.ReleaseFolder))
}

// deleteUnnamed deletes the blobs, whole or not, that neither a release of the
// list names nor the one that is downloaded next, and manifests that were not
// read into the list because nothing vouches for them. Parts says whether downloads
// that were cut short go too.
func (s *Store) deleteUnnamed(list []Release, next trust.Verified, parts bool) error {
	named, held := map[string]bool{}, map[string]bool{}
	for _, r := range append([]Release{{Verified: next}}, list...) {
		if r.Valid() {
			held[r.Digest().Hex()] = true
			for _, a := range r.Manifest().Artifacts {
				named[a.SHA256.Hex()] = true
			}
		}
	}
	suffix := layout.PartSuffix
	if !parts {
		suffix = ""
	}
	return errors.Join(
		s.deleteOthers(layout.ReleaseFolder, ".json", held),
		s.deleteOthers(blobFolder, suffix, named),
	)
}

// deleteOthers deletes the files of a folder whose names, without the suffix if
// they have it, are not to be kept. Without a suffix, downloads that were cut short
// stay.
func (s *Store) deleteOthers(folder, suffix string, keep map[string]bool) error {
	entries, err := os.ReadDir(s.join(folder))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if suffix == "" && strings.HasSuffix(e.Name(), layout.PartSuffix) {
			continue
		}
		if !keep[strings.TrimSuffix(e.Name(), suffix)] {
			errs = append(errs, os.RemoveAll(s.join(folder, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Free is the room on the disk of the store, in bytes; an error where nothing can be written.
func (s *Store) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.path, &st); err != nil {
		return 0, fmt.Errorf("asking for the room on the disk: %w", err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return 0, fmt.Errorf("the disk is read-only")
	}
	return int64(st.Bavail) * st.Bsize, nil
}
