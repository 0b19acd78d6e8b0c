package kept_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/machine/linux"
	"phase/appliance/release/choice"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store/disk"
	"phase/tests/storetest"
	"phase/tests/storetest/ondisk"
)

// mutations are what a dying disk, or a hand, makes of a file of the store. The
// second file is another one of it.
var mutations = map[string]func(some *rand.Rand, file, other string) error{
	"gone":      func(_ *rand.Rand, file, _ string) error { return os.RemoveAll(file) },
	"empty":     func(_ *rand.Rand, file, _ string) error { return os.Truncate(file, 0) },
	"truncated": func(some *rand.Rand, file, _ string) error { return os.Truncate(file, some.Int64N(600)) },
	"longer": func(some *rand.Rand, file, _ string) error {
		return change(file, func(data []byte) []byte { return append(data, make([]byte, 1+some.IntN(5000))...) })
	},
	"a bit": func(some *rand.Rand, file, _ string) error {
		return change(file, func(data []byte) []byte {
			if len(data) > 0 {
				data[some.IntN(len(data))] ^= 1 << some.IntN(8)
			}
			return data
		})
	},
	"random": func(some *rand.Rand, file, _ string) error {
		return change(file, func(data []byte) []byte {
			for i := range data {
				data[i] = byte(some.Uint32())
			}
			return data
		})
	},
	"swapped": func(_ *rand.Rand, file, other string) error {
		return errors.Join(os.Rename(file, file+".x"), os.Rename(other, file), os.Rename(file+".x", other))
	},
	"another's owner": func(_ *rand.Rand, file, _ string) error {
		return errors.Join(os.Lchown(file, 900, 900), os.Chmod(file, 0))
	},
	"a folder": func(_ *rand.Rand, file, _ string) error {
		return errors.Join(os.RemoveAll(file), os.Mkdir(file, 0o755))
	},
	"a folder that is not empty": func(_ *rand.Rand, file, _ string) error {
		return errors.Join(os.RemoveAll(file), os.MkdirAll(filepath.Join(file, "x"), 0o755))
	},
	"a link to another": func(_ *rand.Rand, file, other string) error {
		return errors.Join(os.RemoveAll(file), os.Symlink(other, file))
	},
	"a link to a device": func(_ *rand.Rand, file, _ string) error {
		return errors.Join(os.RemoveAll(file), os.Symlink("/dev/zero", file))
	},
	"a link to itself": func(_ *rand.Rand, file, _ string) error {
		return errors.Join(os.RemoveAll(file), os.Symlink(file, file))
	},
	"a link out of it": func(_ *rand.Rand, file, _ string) error {
		return errors.Join(os.RemoveAll(file), os.Symlink("../../../outside", file))
	},
}

func change(file string, do func([]byte) []byte) error {
	if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.New("no plain file"))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, do(data), 0o644)
}

// mutable is a node with a store of two good releases, 20 and 30, which runs its
// stub, version 10.
type mutable struct {
	*node
	releases []storetest.Release
	files    []string // of the store, and its folders last
}

// inMemory is a folder in memory, where there is one: nothing here is about a disk
// whose power is cut, and a disk is slow to be sure.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var small3 = map[string]int{"kernel": 9_001, "initramfs": 701, "rootfs": 21_007}

func newMutable(t testing.TB) *mutable {
	t.Helper()
	m := &mutable{node: newNodeIn(t, inMemory(t))}
	for _, version := range []uint64{20, 30} {
		r := m.signer.Release(t, "stable", names.RunningArch(), version, small3)
		if err := errors.Join(ondisk.Keep(m.Store, r), m.Store.RaiseFloor(m.signer.Root, r.Verified), m.Store.AddRoot(m.signer.Root)); err != nil {
			t.Fatal(err)
		}
		m.try(t, r.Digest(), 1, true)
		m.releases = append(m.releases, r)
	}
	var folders []string
	err := filepath.WalkDir(m.Store.Path(), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && path != m.Store.Path() {
			folders = append(folders, path)
		} else if err == nil && !e.IsDir() {
			m.files = append(m.files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.files = append(m.files, folders...)
	return m
}

// sound says whether all of a release is in the store as it was signed, in plain
// files of plain folders.
func (m *mutable) sound(r storetest.Release) bool {
	is := func(path string, data []byte) bool {
		for at := filepath.Dir(path); len(at) >= len(m.Store.Path()); at = filepath.Dir(at) {
			if info, err := os.Lstat(at); err != nil || !info.IsDir() {
				return false
			}
		}
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			return false
		}
		got, err := os.ReadFile(path)
		return err == nil && bytes.Equal(got, data)
	}
	if !is(filepath.Join(m.Store.Path(), "releases", r.Digest().Hex()+".json"), r.Envelope()) {
		return false
	}
	for name, a := range r.Manifest().Artifacts {
		if !is(m.Store.BlobPath(a.SHA256), r.Bytes[name]) {
			return false
		}
	}
	return true
}

// start does what the node does at power-on (programs/kexec/boot.go): the version
// that it would jump into, 0 for its stub, and what it said.
func (m *mutable) start(ctx context.Context) (version uint64, said []string) {
	say := func(err error) {
		if err != nil {
			said = append(said, err.Error())
		}
	}
	s, err := disk.Open(m.Store.Path())
	if err != nil {
		return 0, []string{err.Error()}
	}
	known := walk.New(m.signer.Root)
	say(staging.Roots(s.Path(), known))
	pin := s.Pin()
	n := choice.Node{Running: m.Running, Channel: "stable", Trials: true, Up: m.journal().Up(), Pin: pin.Release, Next: pin.Next}
	list, err := choice.Candidates(s, known.Last(), names.RunningArch(), m.journal())
	say(err)
	for _, c := range list {
		if why := n.Refusal(c); why != "" {
			say(errors.New(why))
		}
	}
	plenty := func() (linux.Memory, error) { return linux.Memory{Total: 4 << 30, Available: 3 << 30}, nil }
	options := kexec.Options{Memory: plenty, Freeable: func(context.Context) int64 { return 0 }}.DryRun()
	for _, c := range n.Order(list) {
		files := kexec.Files{Verified: c.Verified, Open: func(name string) (*os.File, error) { return s.Blob(c.Manifest().Artifacts[name].SHA256) }}
		place, err := files.Stage(ctx, options, func(int64) {})
		if err == nil {
			err = errors.Join(place.Load(ctx), place.Close())
		}
		if err == nil {
			return c.Manifest().Version, said
		}
		say(err)
	}
	return 0, said
}

// check starts a node on what was made of its store, and then the program update:
// it comes up on the newest release that is sound, or on its stub; what is not
// sound is said; and what is sound is still there.
func (m *mutable) check(ctx context.Context) error {
	var sound []storetest.Release
	var newest uint64
	for _, r := range m.releases {
		if m.sound(r) {
			sound, newest = append(sound, r), r.Manifest().Version
		}
	}
	version, said := m.start(ctx)
	if version < newest { // what it starts is hashed; a folder may be reached by a link
		return fmt.Errorf("it starts %d, and the newest that is sound is %d; it said %q", version, newest, said)
	}
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	s, err := disk.Create(m.Store.Path())
	if err != nil {
		return fmt.Errorf("it cannot be written any more: %w", err)
	}
	m.Store = s
	if err := errors.Join(m.Check(ctx), m.Prune()); err != nil {
		return err
	}
	for _, r := range m.releases {
		whole := slices.ContainsFunc(m.List(), func(c choice.Candidate) bool { return c.Digest() == r.Digest() && c.Whole() })
		was := slices.ContainsFunc(sound, func(s storetest.Release) bool { return s.Digest() == r.Digest() })
		switch {
		case was && (!m.sound(r) || !whole):
			return fmt.Errorf("version %d was sound, and is not there any more: %s", r.Manifest().Version, log.String())
		case !was && whole && !m.sound(r):
			return fmt.Errorf("version %d counts as whole: %s", r.Manifest().Version, log.String())
		}
	}
	if len(sound) < len(m.releases) && len(said) == 0 && log.Len() == 0 && len(m.List()) == len(m.releases) {
		return errors.New("nothing was said of what is damaged")
	}
	if again, said := m.start(ctx); again < newest {
		return fmt.Errorf("it starts %d then, and %d before; it said %q", again, newest, said)
	}
	return nil
}

// TestStartOnMutatedStore: each file of the store, and each folder, in each way.
func TestStartOnMutatedStore(t *testing.T) {
	some := rand.New(rand.NewPCG(9, 1))
	for i := range newMutable(t).files {
		for name, mutate := range mutations {
			m := newMutable(t)
			file, other := m.files[i], m.files[(i+1+some.IntN(len(m.files)-1))%len(m.files)]
			_ = mutate(some, file, other) // what cannot be done to it is no harm
			if err := m.check(t.Context()); err != nil {
				rel, _ := filepath.Rel(m.Store.Path(), file)
				t.Errorf("%s, %s: %v", rel, name, err)
			}
		}
	}
}

// FuzzStart states the same of several files in any ways.
func FuzzStart(f *testing.F) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range mutations {
			if !yield(name) {
				return
			}
		}
	})
	f.Add([]byte{0, 0, 1, 3, 5, 2}, uint64(1))
	f.Add([]byte{4, 6, 6, 6, 9, 12, 11, 1}, uint64(2))
	f.Fuzz(func(t *testing.T, plan []byte, seed uint64) {
		m := newMutable(t)
		some := rand.New(rand.NewPCG(seed, 2))
		var done []string
		for pair := range slices.Chunk(plan[:min(len(plan), 12)/2*2], 2) {
			file, name := m.files[int(pair[0])%len(m.files)], names[int(pair[1])%len(names)]
			if name == "gone" && strings.HasSuffix(file, layout.PartSuffix) {
				continue
			}
			err := mutations[name](some, file, m.files[some.IntN(len(m.files))])
			done = append(done, fmt.Sprintf("%s %s %v", filepath.Base(file), name, err))
		}
		if err := m.check(t.Context()); err != nil {
			t.Errorf("after %q: %v", done, err)
		}
	})
}
