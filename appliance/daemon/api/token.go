package api

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"phase/appliance/base/statefile"
)

const (
	tokenFile  = "token"
	tokenBytes = 32
	// minToken is the least length of a token: 16 characters of hex are 64 bits.
	minToken = 16
)

// NewToken returns a token for /v1 that nobody can guess: 64 hex digits.
func NewToken() string {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // it never fails: crypto/rand.Read ends the program instead
	return hex.EncodeToString(b)
}

// LoadToken reads the owner's token from the file "token" in dir, or makes it.
// One that is damaged, or that others could read, is replaced: a token is no
// identity.
func LoadToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0 {
		data, err := statefile.ReadCapped(path, 4<<10)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		token := strings.TrimSpace(string(data))
		if raw, err := hex.DecodeString(token); err == nil && len(raw) == tokenBytes {
			return token, nil
		}
	}
	token := NewToken()
	// What is printed is promised: a power cut may not take it back.
	if err := statefile.Replace(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the token: %w", err)
	}
	return token, nil
}
