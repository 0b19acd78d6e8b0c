// Package keyfile keeps Ed25519 private keys in files, PKCS#8 PEM and 0600. A
// file that is damaged or that others may open is refused, never replaced: a
// machine whose key silently became another one would be worse than one that
// stops.
package keyfile

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"phase/appliance/base/keypem"
	"phase/appliance/base/statefile"
)

// MaxBytes is more than a key takes, in bytes.
const MaxBytes = 16 << 10

// Read reads the key in a file. None is fs.ErrNotExist.
func Read(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; move it away for a new key", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("others may open %s (mode %04o); chmod 600 it if nobody else has read it, else move it away for a new key", path, mode)
	}
	data, err := statefile.ReadCapped(path, MaxBytes)
	if err != nil {
		return nil, err
	}
	key, err := keypem.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged; restore it, or move it away for a new key: %w", path, err)
	}
	return key, nil
}

// Make reads the key in a file, and makes it first, from 32 bytes of random,
// where there is none. Of several processes that make it at the same time, one
// wins and all return that one's key.
func Make(path string, random io.Reader) (ed25519.PrivateKey, error) {
	key, err := Read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, key, err = ed25519.GenerateKey(random); err != nil {
		return nil, err
	}
	data, err := keypem.Encode(key)
	if err != nil {
		return nil, err
	}
	if err := statefile.WriteNew(path, data, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return Read(path)
}
