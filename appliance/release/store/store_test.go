package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

func TestAdd(t *testing.T) {
	signer := storetest.NewSigner(t)
	old := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	next := signer.Release(t, "stable", "x86_64", 2, storetest.Sizes)
	s := store.New()
	changed := s.Changed()
	for _, r := range []storetest.Release{next, old} {
		if err := s.Add(t.Context(), r.Verified, r.Sources()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-changed:
	default:
		t.Error("two releases were added and nobody was told")
	}
	got, ok := s.Newest("stable", "x86_64")
	if !ok || got.Manifest().Version != 2 {
		t.Errorf("newest is %v", got.Manifest().Version)
	}
	if _, ok := s.Newest("testing", "x86_64"); ok {
		t.Error("a release of another channel was found")
	}
	blob, ok := s.Blob(old.Manifest().Artifacts["rootfs"].SHA256)
	if !ok {
		t.Fatal("an artifact of the older release is not found")
	}
	data, err := io.ReadAll(io.NewSectionReader(blob, 0, blob.Size()))
	if err != nil || !bytes.Equal(data, old.Bytes["rootfs"]) {
		t.Errorf("read %d bytes, %v", len(data), err)
	}
	if !s.Remove(old.Digest()) || s.Remove(old.Digest()) {
		t.Error("a release can be removed once")
	}
	if _, ok := s.Blob(old.Manifest().Artifacts["rootfs"].SHA256); ok {
		t.Error("an artifact outlived its release")
	}
}

func TestAddRefuses(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	for _, c := range []struct {
		name   string
		change func(map[string]store.Source)
		code   refusal.Code
	}{
		{"other bytes", func(m map[string]store.Source) {
			b := bytes.Clone(r.Bytes["rootfs"])
			b[len(b)-1] ^= 1
			m["rootfs"] = storetest.Bytes(b)
		}, refusal.Digest},
		{"kernel and rootfs swapped", func(m map[string]store.Source) { m["kernel"], m["rootfs"] = m["rootfs"], m["kernel"] }, refusal.Size},
		{"too short", func(m map[string]store.Source) { m["kernel"] = storetest.Bytes(r.Bytes["kernel"][1:]) }, refusal.Size},
		{"too long", func(m map[string]store.Source) {
			m["kernel"] = storetest.Bytes(append(bytes.Clone(r.Bytes["kernel"]), 0))
		}, refusal.Size},
		{"missing", func(m map[string]store.Source) { delete(m, "initramfs") }, ""},
		{"cannot be opened", func(m map[string]store.Source) { m["initramfs"] = store.File("/nonexistent") }, ""},
		{"a folder", func(m map[string]store.Source) { m["initramfs"] = store.File("/") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := store.New()
			m := r.Sources()
			c.change(m)
			err := s.Add(t.Context(), r.Verified, m)
			if err == nil || refusal.CodeOf(err) != c.code {
				t.Errorf("adding: %v, want code %q", err, c.code)
			}
			if len(s.Releases()) != 0 {
				t.Error("the release is listed")
			}
		})
	}
	if err := store.New().Add(t.Context(), trust.Verified{}, nil); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("adding what nobody verified: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.New().Add(ended, r.Verified, r.Sources()); !errors.Is(err, context.Canceled) {
		t.Errorf("adding with an ended context: %v", err)
	}
}

// A file that is replaced goes on being served as it was; one that is changed
// in place is not served at all.
func TestFileChangedWhileHeld(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	dir := t.TempDir()
	signer.Write(t, dir, r)
	at := filepath.Join(dir, "stable", "x86_64")
	m := r.Sources()
	m["kernel"] = store.File(filepath.Join(at, "vmlinuz"))
	m["rootfs"] = store.File(filepath.Join(at, "rootfs.squashfs"))
	s := store.New()
	if err := s.Add(t.Context(), r.Verified, m); err != nil {
		t.Fatal(err)
	}
	held, _ := s.Newest("stable", "x86_64")

	if err := os.WriteFile(filepath.Join(at, "new"), make([]byte, len(r.Bytes["kernel"])), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(at, "new"), filepath.Join(at, "vmlinuz")); err != nil {
		t.Fatal(err)
	}
	kernel, _ := held.Artifact("kernel")
	data, err := io.ReadAll(io.NewSectionReader(kernel, 0, kernel.Size()))
	if err != nil || !bytes.Equal(data, r.Bytes["kernel"]) {
		t.Errorf("after a rename: %v", err)
	}

	f, err := os.OpenFile(filepath.Join(at, "rootfs.squashfs"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 5); err != nil {
		t.Fatal(err)
	}
	rootfs, _ := held.Artifact("rootfs")
	if _, err := rootfs.ReadAt(make([]byte, 10), 0); !errors.Is(err, store.ErrChanged) {
		t.Errorf("after a change in place: %v", err)
	}
	if _, ok := s.Blob(rootfs.Digest()); ok {
		t.Error("changed bytes are found under the old digest")
	}
	if name, ok := held.Intact(); ok || name != "rootfs" {
		t.Errorf("Intact() = %q, %v", name, ok)
	}
}

func scan(t *testing.T, f *store.Folder) []store.Problem {
	t.Helper()
	return f.Scan(t.Context(), names.Channels, names.Arches)
}

func TestFolder(t *testing.T) {
	signer := storetest.NewSigner(t)
	dir := t.TempDir()
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	signer.Write(t, dir, r)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := store.New()
	folder := store.NewFolder(s, root, signer.Root)
	if p := scan(t, folder); len(p) != 0 {
		t.Fatal(p)
	}
	if _, ok := s.Newest("stable", "x86_64"); !ok {
		t.Fatal("the release is not held")
	}
	if root, ok := s.Root(1); !ok || root.Data != string(signer.Root.Raw()) {
		t.Error("the root is not held")
	}

	t.Run("a release of strangers beside it", func(t *testing.T) {
		stranger := storetest.NewSigner(t)
		bad := stranger.Release(t, "testing", "arm64", 9, storetest.Sizes)
		stranger.Write(t, t.TempDir(), bad)
		at := filepath.Join(dir, "testing", "arm64")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "manifest.json"), bad.Envelope(), 0o644); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is still a problem when nothing changed
			p := scan(t, folder)
			if len(p) != 1 || p[0].Path != "testing/arm64" || refusal.CodeOf(p[0].Err) != refusal.Signature {
				t.Errorf("problems %v", p)
			}
		}
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
		if p := scan(t, folder); len(p) != 0 {
			t.Errorf("problems %v after it was taken away", p)
		}
	})

	t.Run("in the wrong place", func(t *testing.T) {
		at := filepath.Join(dir, "nightly", "arm64")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "manifest.json"), r.Envelope(), 0o644); err != nil {
			t.Fatal(err)
		}
		if p := scan(t, folder); len(p) != 1 || refusal.CodeOf(p[0].Err) != refusal.Channel {
			t.Errorf("problems %v", p)
		}
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("the next version takes its place", func(t *testing.T) {
		next := signer.Release(t, "stable", "x86_64", 2, storetest.Sizes)
		at := filepath.Join(dir, "stable", "x86_64")
		// Half of it first, as while a copy is going on.
		replace(t, filepath.Join(at, "manifest.json"), next.Envelope())
		if p := scan(t, folder); len(p) != 1 {
			t.Errorf("problems %v with half of a release", p)
		}
		if held, ok := s.Newest("stable", "x86_64"); !ok || held.Manifest().Version != 1 {
			t.Error("the old release is not held until the new one is whole")
		}
		for name, data := range next.Bytes {
			replace(t, filepath.Join(at, layout.FileName(name)), data)
		}
		if p := scan(t, folder); len(p) != 0 {
			t.Errorf("problems %v", p)
		}
		if all := s.Releases(); len(all) != 1 || all[0].Manifest().Version != 2 {
			t.Errorf("%d releases held", len(all))
		}
	})

	t.Run("taken away", func(t *testing.T) {
		if err := os.Remove(filepath.Join(dir, "stable", "x86_64", "manifest.json")); err != nil {
			t.Fatal(err)
		}
		// Once it may be on its way to the next one; twice it is gone.
		for _, held := range []int{1, 0, 0} {
			if p := scan(t, folder); len(p) != 0 || len(s.Releases()) != held {
				t.Errorf("problems %v, %d releases, want %d", p, len(s.Releases()), held)
			}
		}
	})
}

// What is not a plain file in the folder neither stops the scan nor leads out.
func TestFolderHostile(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	for _, c := range []struct {
		name string
		make func(t *testing.T, at string)
	}{
		{"a link out of the folder", func(t *testing.T, at string) {
			outside := filepath.Join(t.TempDir(), "kernel")
			if err := errors.Join(os.Rename(filepath.Join(at, "vmlinuz"), outside), os.Symlink(outside, filepath.Join(at, "vmlinuz"))); err != nil {
				t.Fatal(err)
			}
		}},
		{"a pipe nobody writes to", func(t *testing.T, at string) {
			path := filepath.Join(at, "vmlinuz")
			if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o644)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a manifest over the cap", func(t *testing.T, at string) {
			if err := os.WriteFile(filepath.Join(at, "manifest.json"), []byte(strings.Repeat(" ", 1<<20+1)), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"a manifest that is a folder", func(t *testing.T, at string) {
			path := filepath.Join(at, "manifest.json")
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			signer.Write(t, dir, r)
			c.make(t, filepath.Join(dir, "stable", "x86_64"))
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			s := store.New()
			if p := scan(t, store.NewFolder(s, root, signer.Root)); len(p) != 1 {
				t.Errorf("problems %v", p)
			}
			if len(s.Releases()) != 0 {
				t.Error("it is held")
			}
		})
	}
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
