package crashfs

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mounted is an empty file system at a folder.
func mounted(t *testing.T, forget Forget) (*FS, string) {
	t.Helper()
	need(t)
	f, dir := New(forget), t.TempDir()
	unmount, err := f.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
	return f, dir
}

// need skips a test where nothing can be mounted; where everything is installed
// (make test, CI) that is a failure.
func need(t *testing.T) {
	t.Helper()
	_, err := os.Stat("/dev/fuse")
	if err == nil && os.Geteuid() == 0 {
		return
	}
	const why = "mounting a file system of this process needs root and /dev/fuse"
	if os.Getenv("PHASE_REQUIRE") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// It is a file system: what programs do to one has the usual result.
func TestItIsAFileSystem(t *testing.T) {
	_, dir := mounted(t, Forget{})
	at := func(name string) string { return filepath.Join(dir, name) }
	reads := func(name, want string) {
		t.Helper()
		if data, err := os.ReadFile(at(name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if err := errors.Join(
		os.WriteFile(at("a"), []byte("one"), 0o640), os.Mkdir(at("d"), 0o750), os.Link(at("a"), at("d/b")),
		os.Symlink("d/b", at("l")), os.WriteFile(at("a"), []byte("other"), 0o600), os.Truncate(at("a"), 3),
		os.WriteFile(at("x"), []byte("x"), 0o600), os.Rename(at("x"), at("d/y")), os.Chmod(at("d/y"), 0o444),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "oth", "d/b": "oth", "l": "oth", "d/y": "x"} {
		reads(name, want)
	}
	info, err := os.Stat(at("a"))
	if err != nil || info.Mode() != 0o640 || info.Sys().(*syscall.Stat_t).Nlink != 2 {
		t.Errorf("%v, %v", info, err)
	}
	for what, err := range map[string]error{
		"exists":    os.Link(at("a"), at("d/b")),
		"not empty": os.Remove(at("d")),
		"no such":   os.Rename(at("none"), at("a")),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f, err := os.OpenFile(at("log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, e1 := f.WriteString("one ")
	_, e2 := f.WriteString("two")
	if err := errors.Join(e1, e2, f.Sync(), syscall.Fallocate(int(f.Fd()), 0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	reads("log", "one two\x00\x00\x00")
	if err := errors.Join(os.Remove(at("log")), os.RemoveAll(at("d"))); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

// crashes collects, over many seeds, what a file is after a cut at the end.
func crashes(t *testing.T, f *FS, name string) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for seed := range uint64(400) {
		if data, ok := f.Crash(f.Len(), rand.New(rand.NewPCG(seed, 0))).read(name); ok {
			seen[string(data)] = true
		} else {
			seen["none"] = true
		}
	}
	return seen
}

// read returns what a file of a state has.
func (s *State) read(path string) (data []byte, ok bool) {
	at := uint64(rootID)
	for name := range strings.SplitSeq(path, "/") {
		if at, ok = s.inodes[at].entries[name]; !ok {
			return nil, false
		}
	}
	return s.inodes[at].data, true
}

func expect(t *testing.T, seen map[string]bool, want ...string) {
	t.Helper()
	for _, w := range want {
		if !seen[w] {
			t.Errorf("never seen: %q", w)
		}
		delete(seen, w)
	}
	for s := range seen {
		t.Errorf("this may not be left: %q", s)
	}
}

// create writes a file; with sync it is on the disk, with the folder its name is.
func create(t *testing.T, path, data string, sync, folder bool) {
	t.Helper()
	f, err := os.Create(path)
	if err == nil {
		_, err = f.WriteString(data)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if folder {
		syncFolder(t, filepath.Dir(path))
	}
}

func syncFolder(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatACutLeaves(t *testing.T) {
	t.Run("nothing synced", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "new", false, false)
		expect(t, crashes(t, f, "a"), "none", "", "\x00\x00\x00", "new")
	})
	t.Run("the file alone", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "new", true, false)
		expect(t, crashes(t, f, "a"), "none", "new")
	})
	t.Run("the folder alone", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "new", false, true)
		expect(t, crashes(t, f, "a"), "", "\x00\x00\x00", "new")
	})
	t.Run("both", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "new", true, true)
		expect(t, crashes(t, f, "a"), "new")
	})
	t.Run("both, forgotten", func(t *testing.T) {
		f, dir := mounted(t, Forget{Files: true, Folders: true})
		create(t, filepath.Join(dir, "a"), "new", true, true)
		expect(t, crashes(t, f, "a"), "none", "", "\x00\x00\x00", "new")
	})
	t.Run("a folder in a folder that was not synced", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
			t.Fatal(err)
		}
		create(t, filepath.Join(dir, "d", "a"), "new", true, true)
		expect(t, crashes(t, f, "d/a"), "none", "new")
	})
	t.Run("a rename before its data", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "old", true, true)
		create(t, filepath.Join(dir, "b"), "new", false, false)
		if err := os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		expect(t, crashes(t, f, "a"), "old", "", "\x00\x00\x00", "new")
	})
	t.Run("a rename that was synced", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "old", true, true)
		create(t, filepath.Join(dir, "b"), "new", true, false)
		if err := os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		expect(t, crashes(t, f, "a"), "old", "new")
		syncFolder(t, dir)
		expect(t, crashes(t, f, "a"), "new")
		expect(t, crashes(t, f, "b"), "none")
	})
	t.Run("an overwrite in place", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "old", true, true)
		w, err := os.OpenFile(filepath.Join(dir, "a"), os.O_WRONLY|os.O_TRUNC, 0)
		if err == nil {
			_, err = w.WriteString("new!")
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		// Also the old text with the new length, and the new text cut off.
		expect(t, crashes(t, f, "a"), "old", "", "new!", "old\x00", "\x00\x00\x00\x00")
	})
	t.Run("a removed file", func(t *testing.T) {
		f, dir := mounted(t, Forget{})
		create(t, filepath.Join(dir, "a"), "old", true, true)
		if err := os.Remove(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		expect(t, crashes(t, f, "a"), "old", "none")
		f.SyncAll()
		expect(t, crashes(t, f, "a"), "none")
	})
}

// A large write is torn by sectors.
func TestTorn(t *testing.T) {
	f, dir := mounted(t, Forget{})
	create(t, filepath.Join(dir, "a"), strings.Repeat("a", 4096), false, true)
	torn := 0
	for left := range crashes(t, f, "a") {
		for at := 0; at < len(left); at += sector {
			if s := left[at:min(at+sector, len(left))]; s != strings.Repeat(s[:1], len(s)) {
				t.Errorf("the sector at %d is torn: %q", at, s)
			}
		}
		if strings.Contains(left, "a") && strings.Contains(left, "\x00") {
			torn++
		}
	}
	if torn < 20 {
		t.Errorf("torn in %d ways", torn)
	}
}
