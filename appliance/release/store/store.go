// Package store holds the releases that a node serves: each one verified by
// trust, each artifact hashed before it is listed and read afterwards only
// through the descriptor that was hashed, so that a file replaced later is
// never served under the old digest. The store is in memory and points at bytes
// that are somewhere already: the boot disk, the initrd's files, a folder.
package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// Release is one release held, with its artifacts. The zero value holds none.
type Release struct {
	verified  trust.Verified
	document  Document
	artifacts map[string]*Blob
	beside    map[string]Document
}

// Document is a document byte for byte, hashed when it was taken in.
type Document struct {
	Data   string
	Digest names.Digest
}

func newDocument(data []byte) Document { return Document{string(data), names.Sum(data)} }

// Manifest says what the release is.
func (r Release) Manifest() manifest.Manifest { return r.verified.Manifest() }

// Envelope is the manifest byte for byte as it was signed. Its Digest is that
// of the envelope, not of the release.
func (r Release) Envelope() Document { return r.document }

// Digest names the release: the SHA-256 of its manifest's payload.
func (r Release) Digest() names.Digest { return r.verified.Digest() }

// Verified is the proof that the release may be booted.
func (r Release) Verified() trust.Verified { return r.verified }

// Artifact returns the bytes of one artifact by its name in the manifest.
func (r Release) Artifact(name string) (*Blob, bool) {
	b, ok := r.artifacts[name]
	return b, ok
}

// Beside returns a file that speaks of the release, one of layout.Documents.
func (r Release) Beside(file string) (Document, bool) {
	d, ok := r.beside[file]
	return d, ok
}

// Intact names the first artifact whose bytes were changed where they lie
// since they were hashed, and reports true when there is none.
func (r Release) Intact() (artifact string, ok bool) {
	for _, name := range slices.Sorted(maps.Keys(r.artifacts)) {
		if !r.artifacts[name].Intact() {
			return name, false
		}
	}
	return "", true
}

// rehash looks again at artifacts that are not intact, and reports whether all
// bytes are what they were.
func (r Release) rehash(ctx context.Context) bool {
	for _, b := range r.artifacts {
		if !b.Intact() && !b.rehash(ctx) {
			return false
		}
	}
	return true
}

// Store is a set of releases held, safe for use by many at once. Its zero
// value is not ready; see New.
type Store struct {
	mu       sync.RWMutex
	releases []Release // newest first
	blobs    map[names.Digest]*Blob
	roots    map[uint64]Document
	changed  chan struct{}
}

// New returns an empty store.
func New() *Store {
	return &Store{
		blobs:   map[names.Digest]*Blob{},
		roots:   map[uint64]Document{},
		changed: make(chan struct{}),
	}
}

// Add hashes the artifacts of a verified release and, when every one is what
// the manifest says, lists the release. Sources are by artifact name; those of
// manifest.Required must be there, others may be missing. Adding a release that
// is held does nothing. An artifact with other bytes is a *refusal.Refusal with
// the code "size" or "digest".
func (s *Store) Add(ctx context.Context, v trust.Verified, sources map[string]Source) error {
	return s.Replace(ctx, names.Digest{}, v, sources)
}

// Replace is Add, and drops the release old in the same step.
func (s *Store) Replace(ctx context.Context, old names.Digest, v trust.Verified, sources map[string]Source) error {
	if !v.Valid() {
		return refusal.New(refusal.Signature, "only a verified release can be held")
	}
	m := v.Manifest()
	next := Release{verified: v, document: newDocument(v.Envelope()), artifacts: map[string]*Blob{}}
	var opened []*Blob
	for _, name := range slices.Sorted(maps.Keys(m.Artifacts)) {
		want := m.Artifacts[name]
		held, known := s.Blob(want.SHA256)
		source, ok := sources[name]
		switch {
		case ok:
		case known && held.size == want.Size:
			next.artifacts[name] = held
			continue
		case slices.Contains(manifest.Required, name):
			return fmt.Errorf("holding %s version %d: no source for its %s", m.Channel, m.Version, name)
		default:
			continue
		}
		blob, err := open(ctx, name, want, source, held)
		if err != nil {
			for _, b := range opened {
				b.file.Close()
			}
			return fmt.Errorf("holding %s/%s version %d: %w", m.Channel, m.Arch, m.Version, err)
		}
		next.artifacts[name] = blob
		if blob != held {
			opened = append(opened, blob)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.releases = slices.DeleteFunc(s.releases, func(r Release) bool {
		return r.Digest() == v.Digest() || r.Digest() == old
	})
	s.releases = append(s.releases, next)
	slices.SortStableFunc(s.releases, newestFirst)
	s.index()
	return nil
}

// Describe says what lies beside the manifest of a release that is held, by file,
// in the place of what was said before. Who wants to believe it verifies it.
func (s *Store) Describe(release names.Digest, files map[string][]byte) {
	beside := map[string]Document{}
	for name, data := range files {
		beside[name] = newDocument(data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.releases {
		if s.releases[i].Digest() == release {
			s.releases[i].beside = beside
		}
	}
}

// newestFirst orders by version; equal ones (two channels, two arches, or an
// equivocation held from before) by digest, so that the order is one.
func newestFirst(a, b Release) int {
	if c := cmp.Compare(b.Manifest().Version, a.Manifest().Version); c != 0 {
		return c
	}
	x, y := a.Digest(), b.Digest()
	return slices.Compare(x[:], y[:])
}

// Remove drops a release and reports whether it was held. Its bytes stay
// readable to those that are reading them: the runtime closes a descriptor
// when the last of them is done.
func (s *Store) Remove(d names.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.releases)
	s.releases = slices.DeleteFunc(s.releases, func(r Release) bool { return r.Digest() == d })
	if len(s.releases) == before {
		return false
	}
	s.index()
	return true
}

// index rebuilds what follows from releases and closes the channel of Changed.
func (s *Store) index() {
	s.blobs = map[names.Digest]*Blob{}
	for _, r := range s.releases {
		for _, b := range r.artifacts {
			s.blobs[b.digest] = b
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Releases are all releases held, newest first.
func (s *Store) Releases() []Release {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.releases)
}

// Latest returns the newest release of each channel and arch, newest first.
func (s *Store) Latest() []Release {
	type line struct{ channel, arch string }
	seen := map[line]bool{}
	return slices.DeleteFunc(s.Releases(), func(r Release) bool {
		of := line{r.Manifest().Channel, r.Manifest().Arch}
		older := seen[of]
		seen[of] = true
		return older
	})
}

// Newest is the release with the highest version on a channel for an arch.
func (s *Store) Newest(channel, arch string) (Release, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.releases {
		if m := r.Manifest(); m.Channel == channel && m.Arch == arch {
			return r, true
		}
	}
	return Release{}, false
}

// Blob finds an artifact of any release held by its digest. One whose bytes
// were changed under it is not found.
func (s *Store) Blob(d names.Digest) (*Blob, bool) {
	s.mu.RLock()
	b, ok := s.blobs[d]
	s.mu.RUnlock()
	if !ok || !b.Intact() {
		return nil, false
	}
	return b, true
}

// Looking says whether the bytes of a file that was changed are being hashed
// again.
func (s *Store) Looking() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, b := range s.blobs {
		if b.looking.Load() {
			return true
		}
	}
	return false
}

// AddRoot keeps a root document for those who must walk the chain of roots.
func (s *Store) AddRoot(r trust.Root) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roots[r.Version()] = newDocument(r.Raw())
}

// Root is the root document of one version, byte for byte as signed.
func (s *Store) Root(version uint64) (Document, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	root, ok := s.roots[version]
	return root, ok
}

// LastRoot is the last root that follows from the one given, link by link, among
// those kept: the one that judges. Errors end the chain.
func (s *Store) LastRoot(given trust.Root) trust.Root {
	for given.Version() > 0 {
		doc, ok := s.Root(given.Version() + 1)
		if !ok {
			break
		}
		next, err := given.Next([]byte(doc.Data))
		if err != nil {
			break
		}
		given = next
	}
	return given
}

// Changed returns a channel that is closed when the set of releases changes.
// Take it before looking at the set, so that no change is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}
