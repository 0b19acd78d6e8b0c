package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	privateBlock = "PRIVATE KEY"
	publicBlock  = "PUBLIC KEY"
	maxKeyFile   = 16 << 10
)

// EncodeKey writes a private key as PKCS#8 PEM (RFC 5958). The file it goes to
// must be 0600 from its first byte.
func EncodeKey(key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("encoding a private key: %d bytes, not %d", len(key), ed25519.PrivateKeySize)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), nil
}

// DecodeKey reads an Ed25519 private key from PKCS#8 PEM, one block and
// nothing beside it.
func DecodeKey(data []byte) (ed25519.PrivateKey, error) {
	der, err := block(data, privateBlock)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading a private key: it is a %T, not Ed25519", key)
	}
	return private, nil
}

// EncodePublicKey writes a public key as SPKI PEM (RFC 8410).
func EncodePublicKey(key ed25519.PublicKey) ([]byte, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("encoding a public key: %d bytes, not %d", len(key), ed25519.PublicKeySize)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}), nil
}

// DecodePublicKey reads an Ed25519 public key from SPKI PEM, one block and
// nothing beside it.
func DecodePublicKey(data []byte) (ed25519.PublicKey, error) {
	der, err := block(data, publicBlock)
	if err != nil {
		return nil, fmt.Errorf("reading a public key: %w", err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading a public key: %w", err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("reading a public key: it is a %T, not Ed25519", key)
	}
	return public, nil
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
