package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
	"phase/appliance/release/store"
	"phase/tests/await"
	"phase/tests/storetest"
)

// served is a folder with one release, and the store that was filled from it.
type served struct {
	*store.Folder
	store *store.Store
	r     storetest.Release
	at    string
}

func serve(t *testing.T) served {
	t.Helper()
	signer := storetest.NewSigner(t)
	dir := t.TempDir()
	f := served{store: store.New(), r: signer.Release(t, "stable", "x86_64", 1, storetest.Sizes), at: filepath.Join(dir, "stable", "x86_64")}
	signer.Write(t, dir, f.r)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	f.Folder = store.NewFolder(f.store, root, signer.Root)
	if p := scan(t, f.Folder); len(p) != 0 {
		t.Fatal(p)
	}
	return f
}

// write changes a file where it lies and sets its modification time back, as
// cp -p does, and an attacker who wants to hide it.
func (f served) write(t *testing.T, name string, data []byte, at int64) {
	t.Helper()
	path := filepath.Join(f.at, name)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(data, at)
	if err := errors.Join(err, file.Close(), os.Chtimes(path, before.ModTime(), before.ModTime())); err != nil {
		t.Fatal(err)
	}
}

func (f served) holds(name string) bool {
	_, ok := f.store.Blob(f.r.Manifest().Artifacts[name].SHA256)
	return ok
}

// The modification time is whatever the writer says it is.
func TestChangedWithItsTimeSetBack(t *testing.T) {
	f := serve(t)
	held, _ := f.store.Newest("stable", "x86_64")
	kernel, _ := held.Artifact("kernel")
	f.write(t, "vmlinuz", []byte{f.r.Bytes["kernel"][9] ^ 1}, 9)
	if _, err := kernel.ReadAt(make([]byte, 100), 0); !errors.Is(err, store.ErrChanged) {
		t.Errorf("read after the change: %v", err)
	}
	if f.holds("kernel") {
		t.Error("changed bytes are found under the old digest")
	}
	if p := scan(t, f.Folder); len(p) != 1 || refusal.CodeOf(p[0].Err) != refusal.Digest || p[0].Held || len(f.store.Releases()) != 0 {
		t.Errorf("problems %v, %d releases", p, len(f.store.Releases()))
	}
	// Put right the same way: nothing but the inode's own time shows it.
	f.write(t, "vmlinuz", f.r.Bytes["kernel"], 0)
	if p := scan(t, f.Folder); len(p) != 0 || !f.holds("kernel") {
		t.Errorf("problems %v after it was put right", p)
	}
}

// What changes a file's inode and none of its bytes costs a look, no more.
func TestChangedInNameOnly(t *testing.T) {
	f := serve(t)
	path := filepath.Join(f.at, "vmlinuz")
	for name, change := range map[string]func() error{
		"a backup by links": func() error { return os.Link(path, filepath.Join(t.TempDir(), "vmlinuz")) },
		"permissions":       func() error { return os.Chmod(path, 0o600) },
		"the same bytes":    func() error { return os.WriteFile(path, f.r.Bytes["kernel"], 0o644) },
	} {
		if err := change(); err != nil {
			t.Fatal(name, err)
		}
		if p := scan(t, f.Folder); len(p) != 0 || !f.holds("kernel") {
			t.Errorf("%s: problems %v", name, p)
		}
	}
}

// The same without anybody who scans: what is asked for is looked at again, and
// what was changed is not asked about for ever.
func TestLooksAgain(t *testing.T) {
	f := serve(t)
	path := filepath.Join(f.at, "vmlinuz")
	kernel := f.r.Manifest().Artifacts["kernel"].SHA256
	settled := func() bool {
		if err := await.Until(t.Context(), func() bool { return f.holds("kernel") || f.store.LookedAt(kernel) }); err != nil {
			t.Fatalf("it is neither held nor looked at: %v", err)
		}
		return f.holds("kernel")
	}
	if err := os.Link(path, filepath.Join(t.TempDir(), "vmlinuz")); err != nil {
		t.Fatal(err)
	}
	if f.holds("kernel") {
		t.Fatal("a change is not seen")
	}
	if !settled() {
		t.Error("a file with one name more is not served any more")
	}
	f.write(t, "vmlinuz", []byte{f.r.Bytes["kernel"][9] ^ 1}, 9)
	if settled() {
		t.Error("changed bytes are served")
	}
	f.write(t, "vmlinuz", f.r.Bytes["kernel"], 0)
	if !settled() {
		t.Error("a file put right is not served")
	}
}

// A folder that no longer has what is served says so, though the open files
// are good for as long as the program runs.
func TestNoLongerInTheFolder(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, f served){
		"an artifact removed": func(t *testing.T, f served) {
			if err := os.Remove(filepath.Join(f.at, "vmlinuz")); err != nil {
				t.Fatal(err)
			}
		},
		"an artifact replaced": func(t *testing.T, f served) {
			replace(t, filepath.Join(f.at, "vmlinuz"), make([]byte, len(f.r.Bytes["kernel"])))
		},
		"the manifest replaced": func(t *testing.T, f served) { replace(t, filepath.Join(f.at, layout.ManifestFile), []byte("{}")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t)
			change(t, f)
			for range 2 {
				if p := scan(t, f.Folder); len(p) != 1 || !p[0].Held || !f.holds("kernel") {
					t.Errorf("problems %v", p)
				}
			}
			for artifact, data := range f.r.Bytes {
				replace(t, filepath.Join(f.at, layout.FileName(artifact)), data)
			}
			replace(t, filepath.Join(f.at, layout.ManifestFile), f.r.Envelope())
			if p := scan(t, f.Folder); len(p) != 0 || !f.holds("kernel") {
				t.Errorf("problems %v after it was put back", p)
			}
			// From the new files: the old ones are let go of.
			f.write(t, "vmlinuz", []byte("changed"), 0)
			if f.holds("kernel") {
				t.Error("the file put back is not the one that is served")
			}
		})
	}
}

// A link made to a file while it is hashed, as a program that lays releases out side
// by side does, is no change of it; what is written to it meanwhile is one.
func TestChangedWhileHashed(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	path := filepath.Join(t.TempDir(), "kernel")
	opened := func(change func() error) store.Source {
		return func() (*store.Blob, error) {
			if err := os.WriteFile(path, r.Bytes["kernel"], 0o644); err != nil {
				return nil, err
			}
			content, err := store.File(path)()
			// The clock of inodes ticks some times a second.
			for err == nil && content.Unchanged() {
				err = change()
			}
			return content, err
		}
	}
	links := 0
	for name, c := range map[string]struct {
		change func() error
		code   refusal.Code
	}{
		"a link": {func() error { links++; return os.Link(path, fmt.Sprintf("%s-%d", path, links)) }, ""},
		"a byte": {func() error { return os.WriteFile(path, append(r.Bytes["kernel"][1:], 0), 0o644) }, refusal.Digest},
	} {
		from := r.Sources()
		from["kernel"] = opened(c.change)
		err := store.New().Add(t.Context(), r.Verified, from)
		if code := refusal.CodeOf(err); code != c.code || c.code == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
