package keypem

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
)

func testKey(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, ed25519.SeedSize))
}

func TestKeys(t *testing.T) {
	key := testKey(7)
	private, err := Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := EncodePublic(key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(private); err != nil || !got.Equal(key) {
		t.Errorf("private key: %v", err)
	}
	if got, err := DecodePublic(public); err != nil || !got.Equal(key.Public()) {
		t.Errorf("public key: %v", err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256Private, err := x509.MarshalPKCS8PrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	p256Public, err := x509.MarshalPKIXPublicKey(p256.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty":     nil,
		"cut":       private[:len(private)-20],
		"twice":     slices.Concat(private, private),
		"text":      append(slices.Clone(private), "hello"...),
		"before":    append([]byte("hello\n"), private...),
		"public":    public,
		"P-256":     pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: p256Private}),
		"damaged":   bytes.Replace(private, []byte("MC4C"), []byte("MC4D"), 1),
		"oversized": append(slices.Clone(private), bytes.Repeat([]byte("\n"), maxKeyFile)...),
		"label":     bytes.ReplaceAll(private, []byte("PRIVATE KEY"), []byte("CERTIFICATE")),
		"headers":   bytes.Replace(private, []byte("KEY-----\n"), []byte("KEY-----\nA: b\n\n"), 1),
	} {
		if _, err := Decode(data); err == nil {
			t.Errorf("a private key was read from: %s", name)
		}
	}
	if _, err := DecodePublic(private); err == nil {
		t.Error("a public key was read from a private one")
	}
	if _, err := DecodePublic(pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: p256Public})); err == nil {
		t.Error("a public key was read from one of P-256")
	}
	if _, err := Encode(key[:10]); err == nil {
		t.Error("a short private key was written")
	}
	if _, err := EncodePublic(ed25519.PublicKey(key[:10])); err == nil {
		t.Error("a short public key was written")
	}
}

func FuzzDecode(f *testing.F) {
	private, _ := Encode(testKey(1))
	public, _ := EncodePublic(testKey(1).Public().(ed25519.PublicKey))
	f.Add(private)
	f.Add(public)
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := Decode(data); err == nil {
			if text, err := Encode(key); err != nil {
				t.Fatalf("a key was read that cannot be written: %v", err)
			} else if again, err := Decode(text); err != nil || !again.Equal(key) {
				t.Fatalf("a key does not survive writing: %v", err)
			}
		}
		if key, err := DecodePublic(data); err == nil {
			if text, err := EncodePublic(key); err != nil {
				t.Fatalf("a key was read that cannot be written: %v", err)
			} else if again, err := DecodePublic(text); err != nil || !again.Equal(key) {
				t.Fatalf("a key does not survive writing: %v", err)
			}
		}
	})
}
