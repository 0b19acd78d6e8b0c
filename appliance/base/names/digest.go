package names

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const digestPrefix = "sha256:"

// Digest is a SHA-256. Its one text form outside a manifest is "sha256:" and
// 64 lower-case hex digits; a bare hex string is not a Digest, so the two can
// not be compared with one another by mistake.
type Digest [sha256.Size]byte

// Sum is the digest of data.
func Sum(data []byte) Digest { return sha256.Sum256(data) }

// ParseDigest reads "sha256:" and 64 lower-case hex digits, and nothing else.
func ParseDigest(text string) (Digest, error) {
	digits, ok := strings.CutPrefix(text, digestPrefix)
	if !ok {
		return Digest{}, fmt.Errorf("digest %.80q does not begin with %q", text, digestPrefix)
	}
	return ParseHex(digits)
}

// ParseHex reads 64 lower-case hex digits, the form of a digest within a
// manifest and a URL.
func ParseHex(digits string) (Digest, error) {
	var d Digest
	if len(digits) != hex.EncodedLen(len(d)) || strings.ToLower(digits) != digits {
		return Digest{}, errors.New("a SHA-256 is 64 lower-case hex digits")
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return Digest{}, fmt.Errorf("a SHA-256 is 64 lower-case hex digits: %w", err)
	}
	return d, nil
}

// String is "sha256:" and the hex digits.
func (d Digest) String() string { return digestPrefix + d.Hex() }

// Hex is the 64 digits alone, as they stand in a manifest and in
// /blobs/sha256/{hex}.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// IsZero says whether no digest was set.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes the String form.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDigest reads.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}
