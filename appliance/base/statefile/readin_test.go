package statefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"phase/appliance/base/statefile"
)

// What others put into a folder is neither followed out of it nor waited for.
func TestReadCappedIn(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(dir, "text"), []byte("123456789"), 0o600),
		os.Symlink("text", filepath.Join(dir, "inside")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "out")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"text", "inside"} {
		if data, err := statefile.ReadCappedIn(root, name, 100); err != nil || string(data) != "123456789" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		// One byte over the limit tells the parser that it is too long.
		if data, err := statefile.ReadCappedIn(root, name, 4); err != nil || string(data) != "12345" {
			t.Errorf("%s, capped: %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"out", "fifo", "folder", "../text"} {
		if data, err := statefile.ReadCappedIn(root, name, 100); err == nil {
			t.Errorf("%s: %q was read", name, data)
		}
	}
	if _, err := statefile.ReadCappedIn(root, "none", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
