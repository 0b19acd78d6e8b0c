package modulecache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const keyFile = "cache.key"

// LoadKey returns the key kept in dir as cache.key (32 bytes, 0600), and makes
// it first where there is none. Whoever can write dir can have this process run
// any code, so it is not the folder of the cache. A key that is torn or that
// others can read is replaced: it is worth a compilation of every module.
func LoadKey(dir string) (key [32]byte, err error) {
	path := filepath.Join(dir, keyFile)
	key, err = readKey(path)
	if err == nil {
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		if err := os.Remove(path); err != nil {
			return key, fmt.Errorf("replacing the key of the compile cache: %w", err)
		}
	}
	rand.Read(key[:]) // never fails: crypto/rand ends the program instead
	f, err := os.CreateTemp(dir, ".cache-key-")
	if err != nil {
		return key, fmt.Errorf("keeping the key of the compile cache: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(key[:])
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return key, fmt.Errorf("keeping the key of the compile cache: %w", err)
	}
	// A link never replaces: of several processes one wins.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return key, fmt.Errorf("keeping the key of the compile cache: %w", err)
	}
	if key, err = readKey(path); err != nil {
		return key, fmt.Errorf("reading the key of the compile cache: %w", err)
	}
	return key, nil
}

func readKey(path string) (key [32]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return key, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return key, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || info.Size() != int64(len(key)) {
		return key, fmt.Errorf("%s is damaged or not private", path)
	}
	_, err = io.ReadFull(f, key[:])
	return key, err
}
