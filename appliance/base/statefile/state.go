// Package statefile writes files atomically and durably, and holds the state files
// by which programs know of each other. A state file is JSON in one folder, has
// one producer, and is laid out for a person to read; a reader sees the old text
// or the new one and never half of either. Their types are here, so that a
// producer and its readers cannot drift apart.
package statefile

import (
	"fmt"
	"path/filepath"

	"phase/appliance/base/strictjson"
)

// MaxBytes is the largest state file, 1 MiB.
const MaxBytes = 1 << 20

// Write replaces the file name in dir by v as JSON, mode 0644.
func Write(dir, name string, v any) error {
	path, err := path(dir, name)
	if err != nil {
		return err
	}
	data, err := strictjson.MarshalIndent(v)
	if err != nil {
		return fmt.Errorf("encoding state file %s: %w", name, err)
	}
	if len(data) > MaxBytes {
		return fmt.Errorf("writing state file %s: %d bytes, at most %d", name, len(data), MaxBytes)
	}
	if err := Replace(path, data, 0o644); err != nil {
		return fmt.Errorf("writing state file %s: %w", name, err)
	}
	return nil
}

// Read decodes the file name in dir into v, a pointer. A file that is not
// there is fs.ErrNotExist.
func Read(dir, name string, v any) error {
	path, err := path(dir, name)
	if err != nil {
		return err
	}
	data, err := ReadCapped(path, MaxBytes)
	if err != nil {
		return fmt.Errorf("reading state file %s: %w", name, err)
	}
	if err := strictjson.Unmarshal(data, v, strictjson.Limit(MaxBytes)); err != nil {
		return fmt.Errorf("reading state file %s: %w", name, err)
	}
	return nil
}

func path(dir, name string) (string, error) {
	if name != filepath.Base(name) || !filepath.IsLocal(name) {
		return "", fmt.Errorf("state file name %q is not a plain file name", name)
	}
	return filepath.Join(dir, name), nil
}
