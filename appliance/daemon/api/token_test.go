package api

import (
	"os"
	"path/filepath"
	"testing"
)

// A token stays, unless others may know it.
func TestLoadToken(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, tokenFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if again, err := LoadToken(dir); err != nil || again != first {
		t.Errorf("the token changed: %v", err)
	}
	for name, spoil := range map[string]func() error{
		"torn":               func() error { return os.WriteFile(path, []byte(first[:10]), 0o600) },
		"empty":              func() error { return os.WriteFile(path, nil, 0o600) },
		"readable by others": func() error { return os.Chmod(path, 0o644) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		next, err := LoadToken(dir)
		if info, statErr := os.Stat(path); err != nil || statErr != nil || next == first || len(next) != 64 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
		first = next
	}
}
