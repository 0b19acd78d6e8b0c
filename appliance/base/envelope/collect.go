package envelope

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"phase/appliance/base/strictjson"
)

// Unsigned wraps payload in an envelope without signatures, to be signed by
// people one after the other, each with a key that the others never see.
func Unsigned(payloadType string, payload []byte) ([]byte, error) {
	return write(payloadType, payload, nil)
}

// Signature signs the payload of e with a key.
func (e Envelope) Signature(key ed25519.PrivateKey) (Signature, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Signature{}, fmt.Errorf("signing an envelope: a private key has %d bytes, not %d", len(key), ed25519.PrivateKeySize)
	}
	return Signature{KeyID: KeyID(key.Public().(ed25519.PublicKey)), Sig: ed25519.Sign(key, PAE(e.PayloadType, e.Payload))}, nil
}

// ErrSignature is the error of SignatureOf.
var ErrSignature = errors.New("the signature is not by this key over these bytes")

// SignatureOf takes a signature by a public key that was made by another
// program over the bytes of PAE, and checks it: ErrSignature.
func (e Envelope) SignatureOf(key ed25519.PublicKey, sig []byte) (Signature, error) {
	if !verify(key, PAE(e.PayloadType, e.Payload), sig) {
		return Signature{}, ErrSignature
	}
	return Signature{KeyID: KeyID(key), Sig: sig}, nil
}

// With is the envelope of the same payload with further signatures. One by a
// key that has signed already takes the place of the one before.
func (e Envelope) With(more ...Signature) ([]byte, error) {
	all := make([]Signature, 0, len(e.Signatures)+len(more))
	at := map[string]int{}
	for _, s := range append(append([]Signature{}, e.Signatures...), more...) {
		if i, signed := at[s.KeyID]; signed {
			all[i] = s
			continue
		}
		at[s.KeyID] = len(all)
		all = append(all, s)
	}
	return write(e.PayloadType, e.Payload, all)
}

// Only is the envelope with those of its signatures that keys have made, each
// key once, in the order of their ids: in whatever order people have signed, the
// bytes are the same.
func (e Envelope) Only(keys map[string]ed25519.PublicKey) ([]byte, error) {
	message := PAE(e.PayloadType, e.Payload)
	var good []Signature
	seen := map[string]bool{}
	for _, s := range e.Signatures {
		if id := signer(message, s, keys); id != "" && !seen[id] {
			seen[id] = true
			good = append(good, Signature{KeyID: id, Sig: s.Sig})
		}
	}
	slices.SortFunc(good, func(a, b Signature) int { return strings.Compare(a.KeyID, b.KeyID) })
	return write(e.PayloadType, e.Payload, good)
}

// write encodes an envelope, and refuses one that Parse would refuse.
func write(payloadType string, payload []byte, signatures []Signature) ([]byte, error) {
	text := base64.StdEncoding.EncodeToString(payload)
	w := wire{PayloadType: payloadType, Payload: &text, Signatures: []wireSignature{}}
	for _, s := range signatures {
		w.Signatures = append(w.Signatures, wireSignature{KeyID: s.KeyID, Sig: base64.StdEncoding.EncodeToString(s.Sig)})
	}
	data, err := strictjson.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding the envelope: %w", err)
	}
	data = append(data, '\n')
	if _, err := Parse(data); err != nil {
		return nil, fmt.Errorf("writing an envelope that cannot be read: %w", err)
	}
	return data, nil
}
