// Package identity holds the node's Ed25519 key: it gives the node its peer id,
// its name on the LAN and its signature under receipts. The key is made once and
// kept in a folder, or made anew for a machine that keeps nothing. A key file
// that is damaged or readable by others is refused, never replaced: a node that
// silently became another one would be worse than one that stops.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
)

// File is the name of the key file within the folder: PKCS#8 PEM, 0600.
const File = "identity.pem"

const maxFile = 16 << 10

// Identity is a key pair. The zero value is none; it cannot sign.
type Identity struct{ key ed25519.PrivateKey }

// Load reads the identity kept in dir, and makes it first where there is none.
// Of several processes that make it at the same time, one wins and all return
// that one.
func Load(dir string) (Identity, error) {
	path := filepath.Join(dir, File)
	id, err := read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if id, err = Ephemeral(rand.Reader); err != nil {
		return Identity{}, err
	}
	data, err := envelope.EncodeKey(id.key)
	if err != nil {
		return Identity{}, err
	}
	if err := statefile.WriteNew(path, data, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return Identity{}, fmt.Errorf("keeping the identity: %w", err)
	}
	return read(path)
}

func read(path string) (Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Identity{}, fmt.Errorf("reading the identity: %s is not a regular file; move it away for a new identity", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return Identity{}, fmt.Errorf("reading the identity: others may open %s (mode %04o); chmod 600 it if nobody else has read it, else move it away for a new identity", path, info.Mode().Perm())
	}
	data, err := statefile.ReadCapped(path, maxFile)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %w", err)
	}
	key, err := envelope.DecodeKey(data)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %s is damaged; restore it, or move it away for a new identity: %w", path, err)
	}
	return Identity{key: key}, nil
}

// Ephemeral makes an identity that is kept nowhere, from 32 bytes of random.
func Ephemeral(random io.Reader) (Identity, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return Identity{}, fmt.Errorf("making an identity: %w", err)
	}
	return Identity{key: ed25519.NewKeyFromSeed(seed)}, nil
}

// Valid is false for the zero value.
func (id Identity) Valid() bool { return len(id.key) == ed25519.PrivateKeySize }

// Public is the public key.
func (id Identity) Public() ed25519.PublicKey { return id.key.Public().(ed25519.PublicKey) }

// PeerID is the libp2p peer id of the public key.
func (id Identity) PeerID() string { return PeerID(id.Public()) }

// Name is the node's name on the LAN.
func (id Identity) Name() string { return Name(id.Public()) }

// Sign wraps payload in an envelope signed by this identity.
func (id Identity) Sign(payloadType string, payload []byte) ([]byte, error) {
	return envelope.Sign(payloadType, payload, id.key)
}
