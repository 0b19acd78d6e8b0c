package images

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
	"phase/appliance/release/trust"
)

// Keys are those at hand. The root's can stay offline: a build needs only the
// release keys and the root document.
type Keys struct {
	Root, Release []ed25519.PrivateKey
}

// Files of a folder of keys. A stolen release key can be revoked by the root
// key, so they are two from the first day, and can live on two machines.
const (
	rootKeyFile    = "root.pem"
	releaseKeyFile = "release.pem"
	rootDocument   = "root.json"
)

// RootLifetime is how long the first root document of a new folder of keys lasts.
const RootLifetime = 10 * 365 * 24 * time.Hour

// MakeKeys makes, in a folder, what is not there yet: a root key, a release key,
// their public halves, and the root document that names them. What is there is
// never changed. It says whether it made anything.
func MakeKeys(dir string, rand io.Reader, now time.Time) (made bool, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return false, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	if _, err := os.Stat(filepath.Join(dir, rootDocument)); err == nil {
		return false, nil // complete, the private keys perhaps elsewhere
	}
	keys := map[string]ed25519.PrivateKey{}
	for _, name := range []string{rootKeyFile, releaseKeyFile} {
		key, err := makeKey(filepath.Join(dir, name), rand)
		if err != nil {
			return false, fmt.Errorf("making key %s: %w", name, err)
		}
		keys[name] = key
	}
	root, err := firstRoot(Keys{Root: []ed25519.PrivateKey{keys[rootKeyFile]}, Release: []ed25519.PrivateKey{keys[releaseKeyFile]}}, now)
	if err != nil {
		return false, err
	}
	err = statefile.WriteNew(filepath.Join(dir, rootDocument), root, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// NewKeys makes keys and their root document without keeping them anywhere.
func NewKeys(rand io.Reader, now time.Time) (keys Keys, root []byte, err error) {
	for _, role := range []*[]ed25519.PrivateKey{&keys.Root, &keys.Release} {
		_, key, err := ed25519.GenerateKey(rand)
		if err != nil {
			return Keys{}, nil, err
		}
		*role = []ed25519.PrivateKey{key}
	}
	root, err = firstRoot(keys, now)
	return keys, root, err
}

// firstRoot is version 1: one key a role.
func firstRoot(keys Keys, now time.Time) ([]byte, error) {
	root, err := trust.SignRoot(trust.RootSpec{
		Version: 1, Expires: now.Add(RootLifetime).UTC().Truncate(time.Second),
		Roles: map[string]trust.RoleSpec{
			trust.RoleRoot:    {Keys: []ed25519.PublicKey{public(keys.Root[0])}, Threshold: 1},
			trust.RoleRelease: {Keys: []ed25519.PublicKey{public(keys.Release[0])}, Threshold: 1},
		},
	}, keys.Root...)
	if err != nil {
		return nil, fmt.Errorf("signing the root document: %w", err)
	}
	return root, nil
}

// makeKey makes a key pair, or reads the one that is there.
func makeKey(path string, rand io.Reader) (ed25519.PrivateKey, error) {
	if key, err := readKey(path); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err := ed25519.GenerateKey(rand)
	if err != nil {
		return nil, err
	}
	private, err := envelope.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	err = statefile.WriteNew(path, private, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// Another build may have made the pair first; the public half follows from it.
	if key, err = readKey(path); err != nil {
		return nil, err
	}
	half, err := envelope.EncodePublicKey(public(key))
	if err != nil {
		return nil, err
	}
	err = statefile.WriteNew(strings.TrimSuffix(path, ".pem")+".pub", half, 0o644)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return key, nil
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// readKey refuses a private key that others could have read.
func readKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod 600, or make new keys if it was not yours alone", path, mode)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := envelope.DecodeKey(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return key, nil
}

// LoadKeys reads a folder of keys: the release key, the root document and,
// where it is there, the root key.
func LoadKeys(dir string) (keys Keys, root []byte, err error) {
	root, err = os.ReadFile(filepath.Join(dir, rootDocument))
	if err != nil {
		return Keys{}, nil, fmt.Errorf("reading the root document ('images key' makes keys): %w", err)
	}
	key, err := readKey(filepath.Join(dir, releaseKeyFile))
	if err != nil {
		return Keys{}, nil, fmt.Errorf("reading the release key: %w", err)
	}
	keys.Release = []ed25519.PrivateKey{key}
	switch key, err = readKey(filepath.Join(dir, rootKeyFile)); {
	case err == nil:
		keys.Root = []ed25519.PrivateKey{key}
	case !errors.Is(err, fs.ErrNotExist):
		return Keys{}, nil, fmt.Errorf("reading the root key: %w", err)
	}
	return keys, root, nil
}
