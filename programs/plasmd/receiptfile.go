package plasmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"phase/appliance/base/statefile"
)

// receiptFile is where a receipt is going to be. It is opened before the run,
// so that a place that cannot be written is known before anything runs, and the
// receipt is there whole or not at all.
type receiptFile struct {
	io.Writer
	commit func() error
	drop   func() // leaves the place as it was; after commit it does nothing
}

func openReceipt(path string) (*receiptFile, error) {
	wrap := func(err error) error { return fmt.Errorf("--receipt: %w", err) }
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, wrap(fmt.Errorf("%s is a folder; name a file in it", path))
	case err == nil && !info.Mode().IsRegular(): // like /dev/fd/3
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, wrap(err)
		}
		return &receiptFile{f, f.Close, func() { f.Close() }}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, wrap(err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	p, err := statefile.Create(path, 0o644&^fs.FileMode(mask))
	if err != nil {
		return nil, wrap(err)
	}
	return &receiptFile{p, p.Commit, p.Discard}, nil
}

// put writes the receipt to its place.
func (r *receiptFile) put(receipt []byte) error {
	_, err := r.Write(receipt)
	if err == nil {
		err = r.commit()
	}
	if err != nil {
		return fmt.Errorf("writing the receipt: %w", err)
	}
	return nil
}
