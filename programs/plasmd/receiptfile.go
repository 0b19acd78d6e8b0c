package plasmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/compute/scheduler"
)

// receiptFile is where a receipt is going to be. It is opened before the run,
// so that a place that cannot be written is known before anything runs, and the
// receipt is there whole or not at all.
type receiptFile struct {
	file *os.File
	path string // what the file becomes; "" for what is no file, like /dev/fd/3
}

func openReceipt(path string) (*receiptFile, error) {
	wrap := func(err error) error { return fmt.Errorf("--receipt: %w", err) }
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, wrap(fmt.Errorf("%s is a folder; name a file in it", path))
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, wrap(err)
		}
		return &receiptFile{file: f}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, wrap(err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	name := filepath.Join(filepath.Dir(path), ".receipt-"+scheduler.NewRunID())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, wrap(err)
	}
	return &receiptFile{f, path}, nil
}

// put writes the receipt to its place.
func (r *receiptFile) put(receipt []byte) error {
	_, err := r.file.Write(receipt)
	if r.path == "" {
		err = errors.Join(err, r.file.Close())
	} else {
		err = errors.Join(err, r.file.Sync(), r.file.Close())
		if err == nil {
			err = os.Rename(r.file.Name(), r.path)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing the receipt: %w", err), r.drop())
	}
	return nil
}

// drop leaves the place as it was. After put it does nothing.
func (r *receiptFile) drop() error {
	r.file.Close() // of a file that is not used
	if r.path == "" {
		return nil
	}
	if err := os.Remove(r.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
