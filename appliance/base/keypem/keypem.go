// Package keypem writes and reads Ed25519 keys as text: PKCS#8 and SPKI in PEM.
// What verifies signatures alone does not link it, nor the X.509 that it takes.
package keypem

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	privateBlock = "PRIVATE KEY"
	publicBlock  = "PUBLIC KEY"
	maxKeyFile   = 16 << 10
)

// Encode writes a private key as PKCS#8 PEM (RFC 5958). The file it goes to
// must be 0600 from its first byte.
func Encode(key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("encoding a private key: %d bytes, not %d", len(key), ed25519.PrivateKeySize)
	}
	return encode(privateBlock, key, x509.MarshalPKCS8PrivateKey)
}

// Decode reads an Ed25519 private key from PKCS#8 PEM, one block and
// nothing beside it.
func Decode(data []byte) (ed25519.PrivateKey, error) {
	return decode[ed25519.PrivateKey](privateBlock, data, x509.ParsePKCS8PrivateKey)
}

// EncodePublic writes a public key as SPKI PEM (RFC 8410).
func EncodePublic(key ed25519.PublicKey) ([]byte, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("encoding a public key: %d bytes, not %d", len(key), ed25519.PublicKeySize)
	}
	return encode(publicBlock, key, x509.MarshalPKIXPublicKey)
}

// DecodePublic reads an Ed25519 public key from SPKI PEM, one block and
// nothing beside it.
func DecodePublic(data []byte) (ed25519.PublicKey, error) {
	return decode[ed25519.PublicKey](publicBlock, data, x509.ParsePKIXPublicKey)
}

func encode(kind string, key any, marshal func(any) ([]byte, error)) ([]byte, error) {
	der, err := marshal(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", strings.ToLower(kind), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), nil
}

func decode[Key any](kind string, data []byte, parse func([]byte) (any, error)) (key Key, err error) {
	var parsed any
	der, err := block(data, kind)
	if err == nil {
		parsed, err = parse(der)
	}
	if err != nil {
		return key, fmt.Errorf("reading a %s: %w", strings.ToLower(kind), err)
	}
	key, ok := parsed.(Key)
	if !ok {
		return key, fmt.Errorf("reading a %s: it is a %T, not Ed25519", strings.ToLower(kind), parsed)
	}
	return key, nil
}

func block(data []byte, kind string) ([]byte, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxKeyFile)
	}
	b, rest := pem.Decode(data)
	switch {
	case b == nil:
		return nil, errors.New("no PEM block")
	case b.Type != kind:
		return nil, fmt.Errorf("the PEM block is a %.40q, not a %q", b.Type, kind)
	case len(b.Headers) != 0 || len(bytes.TrimSpace(rest)) != 0 || !bytes.HasPrefix(data, []byte("-----BEGIN ")):
		return nil, errors.New("something stands beside the PEM block")
	}
	return b.Bytes, nil
}
