// Package identity holds the node's Ed25519 key: it gives the node its peer id,
// its name on the LAN and its signature under receipts. The key is made once and
// kept in a folder, or made anew for a machine that keeps nothing.
package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"phase/appliance/base/envelope"
	"phase/appliance/base/keyfile"
	"phase/appliance/base/keypem"
	"phase/appliance/base/statefile"
)

// Identity is a key pair. The zero value is none; it cannot sign.
type Identity struct{ key ed25519.PrivateKey }

// Load reads the identity kept in dir, and makes it first where there is none,
// as keyfile.Make does.
func Load(dir string) (Identity, error) {
	key, err := keyfile.Make(filepath.Join(dir, statefile.IdentityFile), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %w", err)
	}
	return Identity{key: key}, nil
}

// Ephemeral makes an identity that is kept nowhere, from 32 bytes of random.
func Ephemeral(random io.Reader) (Identity, error) {
	_, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return Identity{}, fmt.Errorf("making an identity: %w", err)
	}
	return Identity{key: key}, nil
}

// Valid is false for the zero value.
func (id Identity) Valid() bool { return len(id.key) == ed25519.PrivateKeySize }

// Public is the public key.
func (id Identity) Public() ed25519.PublicKey { return id.key.Public().(ed25519.PublicKey) }

// PeerID is the libp2p peer id of the public key.
func (id Identity) PeerID() string { return PeerID(id.Public()) }

// Name is the node's name on the LAN.
func (id Identity) Name() string { return Name(id.Public()) }

// PrivateKey is the key itself, for the transport of connections, which proves
// with it that the node is who its peer id says.
func (id Identity) PrivateKey() ed25519.PrivateKey { return bytes.Clone(id.key) }

// Sign wraps payload in an envelope signed by this identity.
func (id Identity) Sign(payloadType string, payload []byte) ([]byte, error) {
	return envelope.Sign(payloadType, payload, id.key)
}

// Kept reads the identity that another program keeps in dir, and never makes one.
// The folder is that program's: no link in it is followed out of it.
func Kept(dir string) (Identity, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %w", err)
	}
	defer root.Close()
	data, err := statefile.ReadCappedIn(root, statefile.IdentityFile, keyfile.MaxBytes)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %w", err)
	}
	key, err := keypem.Decode(data)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the identity: %w", err)
	}
	return Identity{key: key}, nil
}
