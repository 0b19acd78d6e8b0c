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
	f, err := flash.Prepare(image, size, gpt.NewID(r.Digest[:]), nil)
	if err != nil {
		return "", fmt.Errorf("flashing version %d: %w", r.Manifest.Version, err)
	}
	path = filepath.Join(filepath.Dir(r.Disk), "stick.img")
	stick, err := os.Create(path)
	if err != nil {
		return "", err
	}
	_, err = f.Write(ctx, stick, func(int64) {})
	return path, errors.Join(err, stick.Truncate(size), stick.Close())
}
