package modulecache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/statefile"
)

const keyFile = "cache.key"

// loadKey returns the key kept in dir as cache.key (32 bytes, 0600), and makes
// it first where there is none. A process that can write dir can have this one
// run any code, so dir is not the folder of the cache. A key that is torn or
// that others can read is replaced: that costs compiling every module again.
func loadKey(dir string) (key [32]byte, err error) {
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
	// Never over a file: of several processes that make a key one wins.
	if err := statefile.WriteNew(path, key[:], 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return key, fmt.Errorf("keeping the key of the compile cache: %w", err)
	}
	if key, err = readKey(path); err != nil {
		return key, fmt.Errorf("reading the key of the compile cache: %w", err)
	}
	return key, nil
}

func readKey(path string) (key [32]byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return key, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return key, fmt.Errorf("%s is not private", path)
	}
	data, err := statefile.ReadCapped(path, int64(len(key)))
	if err != nil {
		return key, err
	}
	if len(data) != len(key) {
		return key, fmt.Errorf("%s is damaged", path)
	}
	return [32]byte(data), nil
}
