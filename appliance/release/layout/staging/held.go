package staging

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/trust"
)

// Held is the release that a folder of releases has on a channel for an arch,
// if root vouches for it: nothing from the network may take the folder back to
// an older one. Nothing there is fs.ErrNotExist.
func Held(dir string, root trust.Root, channel, arch string) (trust.Verified, error) {
	data, err := statefile.ReadCapped(filepath.Join(dir, layout.Manifest(channel, arch)), envelope.MaxBytes)
	if err != nil {
		return trust.Verified{}, fmt.Errorf("looking at what is there: %w", err)
	}
	return root.VerifyHeld(data, channel, arch)
}

// Roots takes the roots that a folder has after the last one known: an earlier
// fetch kept them there.
func Roots(dir string, known *walk.Roots) error {
	for {
		data, err := statefile.ReadCapped(filepath.Join(dir, layout.Root(known.Last().Version()+1)), envelope.MaxBytes)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = known.Add(data)
		}
		if err != nil {
			return fmt.Errorf("looking at the folder's roots: %w", err)
		}
	}
}

// CheckRoot refuses a folder that has another root of the same version: plasmd
// would refuse to serve what is brought there.
func CheckRoot(dir string, root trust.Root) error {
	path := filepath.Join(dir, layout.Root(root.Version()))
	data, err := statefile.ReadCapped(path, envelope.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the folder's root: %w", err)
	}
	if !bytes.Equal(data, root.Raw()) {
		return fmt.Errorf("%s is another root than the one given, and plasmd serve would believe it; choose another folder, or remove it", path)
	}
	return nil
}

// KeepRoot puts the root beside the releases it vouches for, so that plasmd
// serve needs none named.
func KeepRoot(dir string, root trust.Root) error {
	path := filepath.Join(dir, layout.Root(root.Version()))
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keeping the root: %w", err)
	}
	return statefile.Replace(path, root.Raw(), 0o644)
}
