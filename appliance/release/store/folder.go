package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// Problem is one thing in a folder that is not served, and why.
type Problem struct {
	// Path below the folder.
	Path string
	Err  error
	// Held says that what was there before is still held: it is served from
	// files that are open, and no other program could serve it from the folder.
	Held bool
}

func (p Problem) String() string { return p.Path + ": " + p.Err.Error() }

// Folder fills a store from a folder of releases,
// <dir>/<channel>/<arch>/{manifest.json,vmlinuz,initramfs.img,rootfs.squashfs},
// layout.Documents beside them, and <dir>/root/<n>.json, which is what the images command writes and fetch
// downloads into. A Folder is used by one goroutine.
type Folder struct {
	dir   *os.Root
	given []trust.Root // trusted, and served
	last  trust.Root   // that follows those in the folder: the one that judges
	store *Store
	slots map[string]*slot
}

// slot is what was last seen at <channel>/<arch>.
type slot struct {
	stamp   string
	held    names.Digest // zero: nothing
	problem error
	gone    bool // its manifest was not there at the last look
}

// NewFolder prepares to fill s from dir with what verifies under the last of
// the roots given, or under the last that follows it link by link in the
// folder. Nothing is read before Scan.
func NewFolder(s *Store, dir *os.Root, given ...trust.Root) *Folder {
	f := &Folder{dir: dir, given: given, store: s, slots: map[string]*slot{}}
	f.last = f.newest()
	return f
}

// newest is the last of the roots given; the zero Root for none.
func (f *Folder) newest() trust.Root {
	if len(f.given) == 0 {
		return trust.Root{}
	}
	return f.given[len(f.given)-1]
}

// Scan brings the store up to date with the folder and returns what is wrong
// in it; what has not changed since the last Scan is not hashed again. A
// release whose files were replaced by others stays held until its successor
// is whole, one whose bytes were changed in place does not. Only these
// channels and arches are looked at.
func (f *Folder) Scan(ctx context.Context, channels, arches []string) []Problem {
	problems := f.scanRoots()
	for _, channel := range channels {
		for _, arch := range arches {
			where := layout.Release(channel, arch)
			if err := f.scanSlot(ctx, where, channel, arch); err != nil {
				problems = append(problems, Problem{where, err, !f.slots[where].held.IsZero()})
			}
		}
	}
	return problems
}

// Watch scans again an interval after the last scan until ctx ends, and reports what is wrong each
// time, an empty list when nothing is.
func (f *Folder) Watch(ctx context.Context, interval time.Duration, channels, arches []string, report func([]Problem)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
		if problems := f.Scan(ctx, channels, arches); ctx.Err() == nil {
			report(problems)
		}
	}
}

func (f *Folder) scanSlot(ctx context.Context, where, channel, arch string) error {
	s := f.slots[where]
	if s == nil {
		s = &slot{}
		f.slots[where] = s
	}
	if !s.held.IsZero() {
		f.dropChanged(ctx, s)
	}
	stamp := f.stamp(where)
	if stamp == "" {
		// A release is replaced by taking its manifest away first: what is held
		// goes when it is still not there at the next look.
		if s.held.IsZero() || s.gone {
			f.store.Remove(s.held)
			*s = slot{}
		}
		s.gone = !s.held.IsZero()
		return nil
	}
	s.gone = false
	if stamp == s.stamp {
		return s.problem
	}
	held, err := f.load(ctx, where, channel, arch, s.held)
	if ctx.Err() != nil {
		return err // cut short: nothing was learned
	}
	if err == nil {
		s.held = held
		err = f.describe(where, held)
	}
	// What changed while it was being read is looked at again next time.
	if f.stamp(where) == stamp {
		s.stamp = stamp
	}
	s.problem = err
	return err
}

// dropChanged stops listing a release whose bytes were changed in place.
func (f *Folder) dropChanged(ctx context.Context, s *slot) {
	for _, r := range f.store.Releases() {
		if r.Digest() == s.held && !r.rehash(ctx) && ctx.Err() == nil {
			f.store.Remove(s.held)
			*s = slot{}
		}
	}
}

// load verifies and adds the release in one slot, in the place of old.
func (f *Folder) load(ctx context.Context, where, channel, arch string, old names.Digest) (names.Digest, error) {
	data, err := statefile.ReadCappedIn(f.dir, layout.Manifest(channel, arch), envelope.MaxBytes)
	if err != nil {
		return names.Digest{}, err
	}
	v, err := f.last.VerifyHeld(data, channel, arch)
	if err != nil {
		return names.Digest{}, err
	}
	sources := map[string]Source{}
	for name := range v.Manifest().Artifacts {
		file := path.Join(where, layout.FileName(name))
		if _, err := f.dir.Stat(file); err == nil || slices.Contains(manifest.Required, name) {
			sources[name] = FileIn(f.dir, file)
		}
	}
	if old == v.Digest() {
		old = names.Digest{}
	}
	return v.Digest(), f.store.Replace(ctx, old, v, sources)
}

// describe takes what lies beside the manifest of a release that is held. What
// cannot be read is a problem, and keeps nothing else from being served.
func (f *Folder) describe(where string, release names.Digest) error {
	files, problems := map[string][]byte{}, []error{}
	for _, name := range layout.Documents {
		data, err := statefile.ReadCappedIn(f.dir, path.Join(where, name), layout.MaxDocument)
		if err == nil && len(data) > layout.MaxDocument {
			err = fmt.Errorf("%s has more than %d bytes", name, layout.MaxDocument)
		}
		switch {
		case err == nil:
			files[name] = data
		case !errors.Is(err, fs.ErrNotExist):
			problems = append(problems, err)
		}
	}
	f.store.Describe(release, files)
	return errors.Join(problems...)
}

// stamp sums up the files of a slot such that a change of any of them shows;
// "" when there is no manifest.
func (f *Folder) stamp(where string) string {
	if _, err := f.dir.Stat(path.Join(where, layout.ManifestFile)); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	d, err := f.dir.Open(where)
	if err != nil {
		return err.Error()
	}
	defer d.Close()
	names, err := d.Readdirnames(4 * manifest.MaxArtifacts)
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		info, err := f.dir.Stat(path.Join(where, name))
		if err != nil {
			fmt.Fprintf(&b, "%s %v\n", name, err)
			continue
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %d %d %d %d\n", name, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino)
	}
	return b.String()
}

// scanRoots offers every root document in the folder that is self-consistent,
// and walks from the last root given to the last that follows it.
func (f *Folder) scanRoots() []Problem {
	problems := f.addRoots()
	before := f.last
	for f.last = f.newest(); ; {
		doc, ok := f.store.Root(f.last.Version() + 1)
		if !ok {
			break
		}
		next, err := f.last.Next([]byte(doc.Data))
		if err != nil {
			problems = append(problems, Problem{Path: layout.Root(f.last.Version() + 1), Err: err})
			break
		}
		f.last = next
	}
	if f.last.Digest() != before.Digest() { // what was refused may be good now
		for _, s := range f.slots {
			s.stamp = ""
		}
	}
	return problems
}

func (f *Folder) addRoots() []Problem {
	for _, root := range f.given {
		f.store.AddRoot(root)
	}
	d, err := f.dir.Open(layout.RootFolder)
	if err != nil {
		return nil // a folder need not carry roots
	}
	defer d.Close()
	names, _ := d.Readdirnames(1024)
	slices.Sort(names)
	var problems []Problem
	for _, name := range names {
		version, ok := layout.RootVersion(name)
		known := func(root trust.Root) bool { return root.Version() == version }
		if !ok || slices.ContainsFunc(f.given, known) {
			continue
		}
		if r, err := f.readRoot(version); err != nil {
			problems = append(problems, Problem{Path: layout.Root(version), Err: err})
		} else {
			f.store.AddRoot(r)
		}
	}
	return problems
}

func (f *Folder) readRoot(version uint64) (trust.Root, error) {
	data, err := statefile.ReadCappedIn(f.dir, layout.Root(version), envelope.MaxBytes)
	if err != nil {
		return trust.Root{}, err
	}
	r, err := trust.ParseRoot(data)
	if err == nil && r.Version() != version {
		err = fmt.Errorf("it is version %d; rename it", r.Version())
	}
	return r, err
}
