package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/mr-tron/base58"
)

// peerPrefix stands before the 32 bytes of an Ed25519 key in a libp2p peer id:
// an identity multihash (00, length 24) of the protobuf key (type 1, 32 bytes).
// https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
var peerPrefix = []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// maxPeerID bounds the text; an Ed25519 peer id has 52 characters.
const maxPeerID = 64

// PeerID is the libp2p peer id of an Ed25519 key, "12D3KooW…".
func PeerID(key ed25519.PublicKey) string {
	return base58.Encode(append(bytes.Clone(peerPrefix), key...))
}

// ParsePeerID returns the key within a peer id. Only Ed25519 ids hold one.
func ParsePeerID(text string) (ed25519.PublicKey, error) {
	if len(text) > maxPeerID {
		return nil, fmt.Errorf("reading a peer id: %d characters, at most %d", len(text), maxPeerID)
	}
	data, err := base58.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("reading peer id %q: %w", text, err)
	}
	key := bytes.TrimPrefix(data, peerPrefix)
	if len(key) != ed25519.PublicKeySize || PeerID(key) != text {
		return nil, fmt.Errorf("reading peer id %q: not one of an Ed25519 key, which begins with 12D3KooW", text)
	}
	return key, nil
}

// Name is the node's name on the LAN: "phase-" and the first 8 hex digits of
// the SHA-256 of its public key.
func Name(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return "phase-" + hex.EncodeToString(sum[:4])
}
