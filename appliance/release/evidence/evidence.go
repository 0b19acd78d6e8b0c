// Package evidence keeps the releases that should not be: those signed with the
// fleet's keys under a version that another release has. A node takes the one that
// it verified first; the other is kept for the people with the keys, who can tell
// by it which key signed, and whether it was a mistake or a thief.
package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
)

// Most is how many documents a folder holds: who has a key can sign without end,
// and a few of them say as much as all.
const Most = 16

// Keep writes an envelope into a folder, under the digest of its payload, and
// returns its path; "" when it is there already or the folder is full. The
// caller has verified the signatures.
func Keep(dir string, data []byte) (path string, err error) {
	e, err := envelope.Parse(data)
	if err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	path = filepath.Join(dir, names.Sum(e.Payload).Hex()+".json")
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	if len(there) >= Most {
		return "", nil
	}
	if err := statefile.Replace(path, data, 0o644); err != nil {
		return "", fmt.Errorf("keeping evidence: %w", err)
	}
	return path, nil
}
