package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReplaceAndWriteNew(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077)) // the mode is what was asked for
	path := filepath.Join(t.TempDir(), "key.pem")
	holds := func(want string, perm fs.FileMode) {
		t.Helper()
		data, err := ReadCapped(path, 100)
		info, statErr := os.Stat(path)
		if err := errors.Join(err, statErr); err != nil {
			t.Fatal(err)
		}
		if string(data) != want || info.Mode().Perm() != perm {
			t.Errorf("holds %q, mode %v; want %q, mode %v", data, info.Mode(), want, perm)
		}
		if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
			t.Errorf("left beside the file: %v", entries)
		}
	}
	if err := WriteNew(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	holds("one", 0o600)
	if err := WriteNew(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second new file: %v", err)
	}
	holds("one", 0o600)
	if err := Replace(path, []byte("three"), 0o644); err != nil {
		t.Fatal(err)
	}
	holds("three", 0o644)

	p, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	p.Discard()
	holds("three", 0o644)
	if err := Replace(filepath.Join(path, "x"), nil, 0o600); err == nil {
		t.Error("written into a file as if it were a folder")
	}
}

func TestReadCapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := ReadCapped(path, 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := Replace(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int64]string{3: "1234", 5: "12345", 9: "12345"} {
		if got, err := ReadCapped(path, limit); err != nil || string(got) != want {
			t.Errorf("ReadCapped(%d) = %q, %v", limit, got, err)
		}
	}
}
