package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Replaced delivers a value after each time that a file took its place in dir,
// as statefile.Replace puts it there; several may become one. The error of the
// kernel ends it.
func Replaced(dir string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", dir, err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO); err != nil {
		return nil, errors.Join(fmt.Errorf("watching %s: %w", dir, err), events.Close())
	}
	replaced := make(chan struct{}, 1)
	go func() {
		defer events.Close()
		for buf := make([]byte, 4096); ; {
			if _, err := events.Read(buf); err != nil {
				return
			}
			select {
			case replaced <- struct{}{}:
			default:
			}
		}
	}()
	return replaced, nil
}

// WaitFile waits until ok says that the file at path, which is replaced now and
// then, is what was waited for.
func WaitFile(t *testing.T, path, what string, ok func() bool) {
	t.Helper()
	replaced, err := Replaced(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-replaced:
		case <-timeout:
			data, err := os.ReadFile(path)
			t.Fatalf("waited %v for %s in %s; it holds %q, %v", patience, what, path, data, err)
		}
	}
}
