package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
)

// Stick flashes a release onto a disk of size bytes, as a person would onto a
// stick: the persistent partition has the rest of it. The file is sparse.
func (l *Lab) Stick(ctx context.Context, r Release, size int64) (path string, err error) {
	image, err := os.Open(r.Disk)
	if err != nil {
		return "", err
	}
	defer image.Close()
	to, err := gpt.NewGeometry(gpt.Sector512, size)
	if err != nil {
		return "", err
	}
	f, err := flash.Prepare(image, to, gpt.NewID(r.Digest[:]), nil)
	if err != nil {
		return "", fmt.Errorf("flashing version %d: %w", r.Manifest.Version, err)
	}
	stick, err := os.CreateTemp(filepath.Dir(r.Disk), "stick-*.img")
	if err != nil {
		return "", err
	}
	path = stick.Name()
	_, err = f.Write(ctx, stick, func(int64) {})
	return path, errors.Join(err, stick.Truncate(size), stick.Close())
}
