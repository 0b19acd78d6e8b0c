// Package envelope signs and verifies bytes, and nothing else: a DSSE v1
// envelope (https://github.com/secure-systems-lab/dsse) with Ed25519. Root,
// release manifest, receipt and capability record all travel in one, so there
// is one verification path. The signature covers the exact payload bytes and
// their type, so nothing is serialised again to verify it. Which keys may sign
// what is decided by package trust.
package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"phase/appliance/base/strictjson"
)

const (
	// MaxBytes caps a whole envelope: 1 MiB.
	MaxBytes = strictjson.MaxBytes
	// MaxSignatures caps the signatures of one envelope, because each costs its
	// sender nothing and its reader up to one verification a key.
	MaxSignatures = 32
	maxType       = 255
)

// Signature is one signature as it stands in an envelope. KeyID is a hint that
// no signature covers.
type Signature struct {
	KeyID string
	Sig   []byte
}

// Envelope is a parsed, not yet verified, envelope.
type Envelope struct {
	// PayloadType is the media type that the signatures cover.
	PayloadType string
	// Payload is the document itself. Read it only after SignedBy has checked
	// who signed it.
	Payload []byte
	// Signatures are in the order of the file.
	Signatures []Signature

	raw []byte
}

type wire struct {
	PayloadType string          `json:"payloadType"`
	Payload     *string         `json:"payload"`
	Signatures  []wireSignature `json:"signatures"`
}

type wireSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// Parse reads an envelope of at most MaxBytes. It does not check the
// signatures, of which there may be none. Too long is strictjson.ErrSize.
func Parse(data []byte) (Envelope, error) {
	var w wire
	if err := strictjson.Unmarshal(data, &w, strictjson.Limit(MaxBytes)); err != nil {
		return Envelope{}, fmt.Errorf("reading the envelope: %w", err)
	}
	if w.PayloadType == "" || len(w.PayloadType) > maxType {
		return Envelope{}, fmt.Errorf("reading the envelope: payloadType must be 1 to %d bytes", maxType)
	}
	if w.Payload == nil || w.Signatures == nil {
		return Envelope{}, errors.New("reading the envelope: payload and signatures must be there")
	}
	if len(w.Signatures) > MaxSignatures {
		return Envelope{}, fmt.Errorf("reading the envelope: %d signatures, at most %d", len(w.Signatures), MaxSignatures)
	}
	e := Envelope{PayloadType: w.PayloadType, raw: bytes.Clone(data)}
	var err error
	if e.Payload, err = strictjson.Base64(*w.Payload); err != nil {
		return Envelope{}, fmt.Errorf("reading the envelope's payload: %w", err)
	}
	for i, s := range w.Signatures {
		sig, err := strictjson.Base64(s.Sig)
		if err != nil {
			return Envelope{}, fmt.Errorf("reading signature %d of the envelope: %w", i, err)
		}
		e.Signatures = append(e.Signatures, Signature{KeyID: s.KeyID, Sig: sig})
	}
	return e, nil
}

// Raw returns a copy of the bytes that Parse read.
func (e Envelope) Raw() []byte { return bytes.Clone(e.raw) }

// SignedBy returns the ids of those keys that have signed this payload under
// this payload type, sorted, each once however many of its signatures there
// are. Keys are named by KeyID; the keyid in the file only says which key to
// try first.
func (e Envelope) SignedBy(keys map[string]ed25519.PublicKey) []string {
	message := PAE(e.PayloadType, e.Payload)
	signed := map[string]bool{}
	for _, s := range e.Signatures {
		if id := signer(message, s, keys); id != "" {
			signed[id] = true
		}
	}
	return slices.Sorted(maps.Keys(signed))
}

func signer(message []byte, s Signature, keys map[string]ed25519.PublicKey) string {
	if verify(keys[s.KeyID], message, s.Sig) {
		return s.KeyID
	}
	for id, key := range keys {
		if id != s.KeyID && verify(key, message, s.Sig) {
			return id
		}
	}
	return ""
}

// verify is ed25519.Verify for a key that may be missing or misshapen, where
// the library panics.
func verify(key ed25519.PublicKey, message, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, sig)
}

// PAE is DSSE's pre-authentication encoding, the bytes that are signed:
// "DSSEv1" SP len(type) SP type SP len(payload) SP payload, lengths decimal.
func PAE(payloadType string, payload []byte) []byte {
	out := make([]byte, 0, len(payload)+len(payloadType)+32)
	out = append(out, "DSSEv1 "...)
	out = strconv.AppendInt(out, int64(len(payloadType)), 10)
	out = append(out, ' ')
	out = append(out, payloadType...)
	out = append(out, ' ')
	out = strconv.AppendInt(out, int64(len(payload)), 10)
	out = append(out, ' ')
	return append(out, payload...)
}

// Sign wraps payload in an envelope signed by every key, in the order given.
// The same input gives the same bytes: Ed25519 takes no randomness.
func Sign(payloadType string, payload []byte, keys ...ed25519.PrivateKey) ([]byte, error) {
	if len(keys) == 0 {
		return nil, errors.New("signing an envelope: no key was given")
	}
	e := Envelope{PayloadType: payloadType, Payload: payload}
	signatures := make([]Signature, 0, len(keys))
	for _, key := range keys {
		signature, err := e.Signature(key)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	return write(payloadType, payload, signatures)
}

// KeyID names a public key: lower-case hex SHA-256 of its 32 raw bytes.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}
