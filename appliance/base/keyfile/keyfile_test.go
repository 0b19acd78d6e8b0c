package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Many make it at once; one key is kept and all have it.
func TestMakeAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	var keys [16]ed25519.PrivateKey
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = Make(path, rand.Reader); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if !key.Equal(keys[0]) {
			t.Fatal("several keys")
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// What is no good key is refused, with the next step, and stays as it is.
func TestRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	if _, err := Make(path, rand.Reader); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		data []byte
		mode fs.FileMode
		says string
	}{
		{nil, 0o600, "damaged"},
		{good[:len(good)/2], 0o600, "damaged"},
		{bytes.Repeat(good, 1000), 0o600, "damaged"},
		{good, 0o640, "chmod 600"},
		{good, 0o604, "chmod 600"},
	} {
		if err := errors.Join(os.WriteFile(path, c.data, 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := Make(path, rand.Reader); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d bytes, mode %o: %v", len(c.data), c.mode, err)
		}
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, c.data) {
			t.Errorf("%d bytes, mode %o: the file was changed", len(c.data), c.mode)
		}
	}
	if _, err := Make(t.TempDir(), rand.Reader); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Make(filepath.Join(path, "x"), rand.Reader); err == nil {
		t.Error("a key was kept in no folder")
	}
	if _, err := Make(path+".new", strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too little randomness: %v", err)
	}
}
