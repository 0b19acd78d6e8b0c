package roots_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/appliance/release/roots"
	"phase/tests/storetest"
)

// The error tells a file that is not there from one that is no root, and a
// person how to go on.
func TestLoad(t *testing.T) {
	signer := storetest.NewSigner(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("root.json", signer.Root.Raw())
	if root, err := roots.Load(good); err != nil || root.Version() != 1 || !bytes.Equal(root.Raw(), signer.Root.Raw()) {
		t.Errorf("version %d, %v", root.Version(), err)
	}
	release := signer.Release(t, "stable", "arm64", 1, storetest.Sizes)
	for _, c := range []struct {
		path string
		code refusal.Code
		want string
	}{
		{filepath.Join(dir, "none"), "", "reading the root (name another with --root): open "},
		{dir, "", "reading the root (name another with --root): "},
		{file("empty", nil), refusal.Format, "reading the root " + dir + "/empty: "},
		{file("manifest", release.Envelope()), refusal.Format, "reading the root " + dir + "/manifest: "},
		{file("large", make([]byte, envelope.MaxBytes+1)), refusal.Size, "reading the root " + dir + "/large: "},
	} {
		root, err := roots.LoadNamed(c.path)
		var refused *refusal.Refusal
		if !strings.HasPrefix(err.Error(), c.want) || refusal.CodeOf(err) != c.code || errors.As(err, &refused) != (c.code != "") || root.Version() != 0 {
			t.Errorf("%s: %v, code %q", c.path, err, refusal.CodeOf(err))
		}
		if _, err := root.VerifyHeld(release.Envelope(), "stable", "arm64"); err == nil {
			t.Errorf("%s: what came with an error trusts somebody", c.path)
		}
	}
	if _, err := roots.Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if root, err := (roots.Flag{Root: good}).LoadRoot(); err != nil || root.Version() != 1 {
		t.Errorf("by flag: %v", err)
	}
}

// The first root names the fleet, so one with a later root needs the earlier
// ones too, and is told so.
func TestLoadChain(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "root.json")
	if c, err := roots.LoadChain(path, one.Root); err != nil || c.Fleet() != one.Chain.Fleet() {
		t.Errorf("version 1 alone: %v", err)
	}
	if _, err := roots.LoadChain(path, two.Root); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(dir, "root", "1.json")) {
		t.Errorf("without version 1: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	for why, c := range map[string]struct {
		first []byte
		code  refusal.Code
	}{
		"of a stranger": {storetest.NewSigner(t).Root.Raw(), refusal.Signature},
		"our own":       {one.Root.Raw(), ""},
	} {
		if err := os.WriteFile(filepath.Join(dir, "root", "1.json"), c.first, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{path, filepath.Join(dir, "root", "2.json")} {
			got, err := roots.LoadChain(path, two.Root)
			if refusal.CodeOf(err) != c.code || (err == nil) != (got.Last().Version() == 2) {
				t.Errorf("version 1 %s: %v", why, err)
			}
		}
	}
}
