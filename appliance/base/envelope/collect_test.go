package envelope

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
)

// People sign one after the other, and what they have signed is what one who
// has all keys would make.
func TestCollect(t *testing.T) {
	a, b, stranger := testKey(1), testKey(2), testKey(3)
	want, err := Sign("text/plain", []byte("hello"), a, b)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Unsigned("text/plain", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []ed25519.PrivateKey{a, b, a} { // the same again changes nothing
		e := parsed(t, data)
		s, err := e.Signature(key)
		if err == nil {
			data, err = e.With(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(data, want) {
		t.Errorf("signed one after the other:\n%s\nat once:\n%s", data, want)
	}
	// By another program.
	e := parsed(t, data)
	raw := ed25519.Sign(stranger, PAE(e.PayloadType, e.Payload))
	if _, err := e.SignatureOf(stranger.Public().(ed25519.PublicKey), raw); err != nil {
		t.Error(err)
	}
	for why, s := range map[string]struct {
		key ed25519.PublicKey
		sig []byte
	}{
		"of another key":     {a.Public().(ed25519.PublicKey), raw},
		"of another payload": {stranger.Public().(ed25519.PublicKey), ed25519.Sign(stranger, PAE(e.PayloadType, []byte("hellp")))},
		"short":              {stranger.Public().(ed25519.PublicKey), raw[:63]},
		"of no key":          {nil, raw},
	} {
		if _, err := e.SignatureOf(s.key, s.sig); !errors.Is(err, ErrSignature) {
			t.Errorf("a signature %s: %v", why, err)
		}
	}
	if _, err := e.Signature(a[:32]); err == nil {
		t.Error("half a key has signed")
	}
}

// A signature that names a key which did not make it takes nothing away from
// one that did.
func TestOnly(t *testing.T) {
	a, b, stranger := testKey(1), testKey(2), testKey(3)
	data, err := Sign("text/plain", []byte("hello"), stranger, b, a, b)
	if err != nil {
		t.Fatal(err)
	}
	e := parsed(t, data)
	junk := Signature{KeyID: KeyID(a.Public().(ed25519.PublicKey)), Sig: make([]byte, 64)}
	e.Signatures = append([]Signature{junk}, e.Signatures...)
	e.Signatures = append(e.Signatures, junk)
	if data, err = e.Only(keyring(a, b)); err != nil {
		t.Fatal(err)
	}
	inOrder := []ed25519.PrivateKey{a, b}
	slices.SortFunc(inOrder, func(x, y ed25519.PrivateKey) int {
		return strings.Compare(KeyID(x.Public().(ed25519.PublicKey)), KeyID(y.Public().(ed25519.PublicKey)))
	})
	want, err := Sign("text/plain", []byte("hello"), inOrder...)
	if err != nil || !bytes.Equal(data, want) {
		t.Errorf("%s, want %s", data, want)
	}
	if data, err = e.Only(nil); err != nil || len(parsed(t, data).Signatures) != 0 {
		t.Errorf("of nobody: %s, %v", data, err)
	}
}

// FuzzOnly: what is left is signed by those keys, and nobody who has signed is
// left out.
func FuzzOnly(f *testing.F) {
	a, b := testKey(1), testKey(2)
	good, err := Sign("text/plain", []byte("hello"), a, testKey(3), b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"payloadType":"x","payload":"","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			return
		}
		ring := keyring(a, b)
		left, err := e.Only(ring)
		if err != nil {
			return // white space in the file may have saved bytes that now exceed the cap
		}
		only := parsed(t, left)
		signers := only.SignedBy(ring)
		if !slices.Equal(signers, e.SignedBy(ring)) || len(only.Signatures) != len(signers) || !bytes.Equal(only.Payload, e.Payload) {
			t.Fatalf("%d signatures of %q", len(only.Signatures), signers)
		}
	})
}

func parsed(t *testing.T, data []byte) Envelope {
	t.Helper()
	e, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
