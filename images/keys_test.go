package images

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"phase/appliance/base/envelope"
	"phase/appliance/base/keyfile"
	"phase/appliance/release/trust"
)

func TestMakeKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "keys")
	made, err := MakeKeys(dir, randomness(1), day)
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	for name, mode := range map[string]fs.FileMode{
		"root.pem": 0o600, "release.pem": 0o600, "root.pub": 0o644, "release.pub": 0o644, "root.json": 0o644,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 5 {
		t.Errorf("left behind: %v", files)
	}
	release, trusted, err := LoadKeys(dir)
	root := trusted.Last()
	if err != nil {
		t.Fatal(err)
	}
	rootKey, err := keyfile.Read(filepath.Join(dir, rootKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for role, key := range map[string]ed25519.PrivateKey{trust.RoleRoot: rootKey, trust.RoleRelease: release} {
		ids, threshold := root.Role(role)
		if len(ids) != 1 || ids[0] != envelope.KeyID(public(key)) || threshold != 1 {
			t.Errorf("role %s: %v of %v", role, threshold, ids)
		}
	}
	// Nothing that is there is made again.
	if made, err := MakeKeys(dir, randomness(2), day); err != nil || made {
		t.Errorf("made again: %v, %v", made, err)
	}
	if _, again, _ := LoadKeys(dir); !bytes.Equal(again.Last().Raw(), root.Raw()) {
		t.Error("the root document changed")
	}
}

// Two builds that start at once end up with the same keys.
func TestMakeKeysAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var all sync.WaitGroup
	for i := range byte(8) {
		all.Go(func() {
			if _, err := MakeKeys(dir, randomness(i), day); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	release, trusted, err := LoadKeys(dir)
	root := trusted.Last()
	if err != nil {
		t.Fatal(err)
	}
	if ids, _ := root.Role(trust.RoleRelease); ids[0] != envelope.KeyID(public(release)) {
		t.Error("the root document names another release key than the one kept")
	}
}

func TestTheRootKeyMayBeElsewhere(t *testing.T) {
	dir := t.TempDir()
	if _, err := MakeKeys(dir, randomness(1), day); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, rootKeyFile)); err != nil {
		t.Fatal(err)
	}
	if made, err := MakeKeys(dir, randomness(2), day); err != nil || made {
		t.Errorf("made %v, %v", made, err)
	}
	if key, _, err := LoadKeys(dir); err != nil || key == nil {
		t.Errorf("the release key alone: %v", err)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"readable by others": func(dir string) error { return os.Chmod(filepath.Join(dir, releaseKeyFile), 0o640) },
		"torn":               func(dir string) error { return os.Truncate(filepath.Join(dir, releaseKeyFile), 40) },
		"empty":              func(dir string) error { return os.Truncate(filepath.Join(dir, releaseKeyFile), 0) },
	} {
		dir := t.TempDir()
		if _, err := MakeKeys(dir, randomness(1), day); err != nil {
			t.Fatal(err)
		}
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		if _, _, err := LoadKeys(dir); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if _, _, err := LoadKeys(t.TempDir()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "images key") {
		t.Errorf("an empty folder: %v", err)
	}
}
