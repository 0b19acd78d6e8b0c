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

	"phase/appliance/base/keyfile"
	"phase/appliance/base/keypem"
	"phase/appliance/base/statefile"
	"phase/appliance/release/roots"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

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
	rootKey, err := makePair(filepath.Join(dir, rootKeyFile), rand)
	if err != nil {
		return false, fmt.Errorf("making the root key: %w", err)
	}
	releaseKey, err := makePair(filepath.Join(dir, releaseKeyFile), rand)
	if err != nil {
		return false, fmt.Errorf("making the release key: %w", err)
	}
	root, err := firstRoot(rootKey, public(releaseKey), now)
	if err != nil {
		return false, err
	}
	err = statefile.WriteNew(filepath.Join(dir, rootDocument), root, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// firstRoot is version 1: one key a role.
func firstRoot(key ed25519.PrivateKey, release ed25519.PublicKey, now time.Time) ([]byte, error) {
	root, err := trust.SignRoot(trust.RootSpec{
		Version: 1, Expires: now.Add(RootLifetime).UTC().Truncate(time.Second),
		Roles: map[string]trust.RoleSpec{
			trust.RoleRoot:    {Keys: []ed25519.PublicKey{public(key)}, Threshold: 1},
			trust.RoleRelease: {Keys: []ed25519.PublicKey{release}, Threshold: 1},
		},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("signing the root document: %w", err)
	}
	return root, nil
}

// makePair makes a key pair, or reads the one that is there. The public half
// follows from the private one.
func makePair(path string, rand io.Reader) (ed25519.PrivateKey, error) {
	key, err := keyfile.Make(path, rand)
	if err != nil {
		return nil, err
	}
	half, err := keypem.EncodePublic(public(key))
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

// LoadKeys reads from a folder of keys what a build needs: the release key, and
// the roots, of which the last one must name that key. The root key can be
// offline.
func LoadKeys(dir string) (release ed25519.PrivateKey, trusted chain.Chain, err error) {
	if trusted, err = LoadRoots(dir); err != nil {
		return nil, trusted, err
	}
	release, err = keyfile.Read(filepath.Join(dir, releaseKeyFile))
	if err != nil {
		return nil, trusted, fmt.Errorf("reading the release key: %w", err)
	}
	return release, trusted, nil
}

// LoadRoots reads the roots of a folder of keys: root.json, which is version 1,
// and root/<n>.json, which images rotate makes. One that is damaged is refused:
// what is signed under the version before it may be refused by nodes.
func LoadRoots(dir string) (chain.Chain, error) {
	l, err := roots.LoadChain(filepath.Join(dir, rootDocument))
	if err != nil {
		return chain.Chain{}, fmt.Errorf("reading the root document ('images key' makes keys): %w", err)
	}
	if err := errors.Join(append(l.Problems, l.NoChain)...); err != nil {
		return chain.Chain{}, fmt.Errorf("reading the roots in %s: %w", dir, err)
	}
	return l.Chain, nil
}
