package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"phase/appliance/release/layout"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// What lies beside a manifest is served as it is, and whatever it is, it keeps
// the release from nobody.
func TestBeside(t *testing.T) {
	signer, dir := storetest.NewSigner(t), t.TempDir()
	signer.Write(t, dir, signer.Release(t, "stable", "x86_64", 1, storetest.Sizes))
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := store.New()
	folder := store.NewFolder(s, root, signer.Root)
	at := func(name string) string { return filepath.Join(dir, "stable", "x86_64", name) }
	secret := filepath.Join(t.TempDir(), "secret")
	replace(t, secret, []byte("{}"))
	for _, c := range []struct {
		name     string
		put      func() error
		problems int
		want     string // the provenance; "" for none
	}{
		{"nothing", func() error { return nil }, 0, ""},
		{"a provenance", func() error { return os.WriteFile(at(layout.ProvenanceFile), []byte("{}"), 0o644) }, 0, "{}"},
		{"another one", func() error { return os.WriteFile(at(layout.ProvenanceFile), []byte("{ }"), 0o644) }, 0, "{ }"},
		{"beside one too large", func() error {
			return os.WriteFile(at(layout.SBOMFile), bytes.Repeat([]byte(" "), layout.MaxDocument+1), 0o644)
		}, 1, "{ }"},
		{"a link out of the folder", func() error {
			return errors.Join(os.Remove(at(layout.SBOMFile)), os.Remove(at(layout.ProvenanceFile)), os.Symlink(secret, at(layout.ProvenanceFile)))
		}, 1, ""},
		{"a pipe nobody writes to", func() error {
			return errors.Join(os.Remove(at(layout.ProvenanceFile)), syscall.Mkfifo(at(layout.ProvenanceFile), 0o644))
		}, 1, ""},
		{"taken away", func() error { return os.Remove(at(layout.ProvenanceFile)) }, 0, ""},
	} {
		if err := c.put(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is still a problem when nothing changed
			if p := scan(t, folder); len(p) != c.problems || len(p) > 0 && !p[0].Held {
				t.Errorf("%s: problems %v", c.name, p)
			}
		}
		r, ok := s.Newest("stable", "x86_64")
		if !ok {
			t.Fatalf("%s: the release is not held", c.name)
		}
		if d, ok := r.Beside(layout.ProvenanceFile); d.Data != c.want || ok != (c.want != "") {
			t.Errorf("%s: there is %.20q", c.name, d.Data)
		}
	}
}
