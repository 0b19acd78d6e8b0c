package envelope

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/strictjson"
)

func testKey(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, ed25519.SeedSize))
}

func keyring(keys ...ed25519.PrivateKey) map[string]ed25519.PublicKey {
	ring := map[string]ed25519.PublicKey{}
	for _, key := range keys {
		public := key.Public().(ed25519.PublicKey)
		ring[KeyID(public)] = public
	}
	return ring
}

// TestPAE holds PAE against the example in DSSE's protocol.md.
func TestPAE(t *testing.T) {
	if got := string(PAE("http://example.com/HelloWorld", []byte("hello world"))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Errorf("PAE %q", got)
	}
	if got := string(PAE("", nil)); got != "DSSEv1 0  0 " {
		t.Errorf("PAE of nothing %q", got)
	}
}

func TestSignAndVerify(t *testing.T) {
	a, b, c := testKey(1), testKey(2), testKey(3)
	data, err := Sign("text/plain", []byte("hello"), a, b, a)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Raw(), data) || string(e.Payload) != "hello" || e.PayloadType != "text/plain" || len(e.Signatures) != 3 {
		t.Errorf("parsed %+v", e)
	}
	want := slices.Sorted(func(yield func(string) bool) {
		for id := range keyring(a, b) {
			if !yield(id) {
				return
			}
		}
	})
	if got := e.SignedBy(keyring(a, b, c)); !slices.Equal(got, want) {
		t.Errorf("signed by %q, want %q", got, want)
	}
	if got := e.SignedBy(keyring(c)); len(got) != 0 {
		t.Errorf("signed by %q, who has not", got)
	}
	if got := e.SignedBy(nil); len(got) != 0 {
		t.Errorf("signed by %q, whom nobody knows", got)
	}
	short := map[string]ed25519.PublicKey{e.Signatures[0].KeyID: {1, 2, 3}}
	if got := e.SignedBy(short); len(got) != 0 {
		t.Errorf("a key of three bytes has signed: %q", got)
	}
	for name, edit := range map[string]func(*Envelope){
		"payload": func(e *Envelope) { e.Payload = []byte("hellp") },
		"type":    func(e *Envelope) { e.PayloadType = "text/plaim" },
		// Without lengths in PAE these bytes would be the same.
		"border": func(e *Envelope) { e.PayloadType, e.Payload = "text/plai", []byte("nhello") },
	} {
		other := e
		edit(&other)
		if got := other.SignedBy(keyring(a, b)); len(got) != 0 {
			t.Errorf("another %s is signed by %q", name, got)
		}
	}
	given := bytes.Clone(data)
	if e, err = Parse(given); err != nil {
		t.Fatal(err)
	}
	clear(given)
	clear(e.Raw())
	if !bytes.Equal(e.Raw(), data) {
		t.Error("a caller changed the envelope's bytes")
	}
	again, err := Sign("text/plain", []byte("hello"), a, b, a)
	if err != nil || !bytes.Equal(again, data) {
		t.Error("the same input gave other bytes")
	}
}

func TestSignRefuses(t *testing.T) {
	if _, err := Sign("text/plain", nil); err == nil {
		t.Error("signed by nobody")
	}
	if _, err := Sign("", nil, testKey(1)); err == nil {
		t.Error("signed without a type")
	}
	if _, err := Sign("text/plain", nil, testKey(1)[:32]); err == nil {
		t.Error("signed with half a key")
	}
	if _, err := Sign("text/plain", make([]byte, MaxBytes), testKey(1)); !errors.Is(err, strictjson.ErrSize) {
		t.Errorf("signed what nobody would read: %v", err)
	}
}

// FuzzParse states two laws. What nobody signed is refused: whatever comes
// in, a key that never signed it is never among its signers. And what is
// parsed is what any JSON reader sees.
func FuzzParse(f *testing.F) {
	signer, stranger := testKey(1), testKey(2)
	good, err := Sign("text/plain", []byte("hello"), signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"payloadType":"x","payload":"","signatures":[]}`))
	f.Add([]byte(strings.Replace(string(good), "{", `{"payload":"","Payload":"x",`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			return
		}
		if len(e.SignedBy(keyring(stranger))) != 0 {
			t.Fatal("signed by a key that never signed")
		}
		if len(e.SignedBy(keyring(signer))) != 0 && (e.PayloadType != "text/plain" || string(e.Payload) != "hello") {
			t.Fatalf("%q %q was never signed", e.PayloadType, e.Payload)
		}
		var other struct{ PayloadType, Payload string }
		if err := json.Unmarshal(data, &other); err != nil || other.PayloadType != e.PayloadType {
			t.Fatalf("encoding/json sees %q (%v), Parse %q", other.PayloadType, err, e.PayloadType)
		}
		normal := strings.NewReplacer("-", "+", "_", "/").Replace(other.Payload)
		if base64.StdEncoding.EncodeToString(e.Payload) != normal {
			t.Fatal("the payload is not the one in the file")
		}
	})
}
