package kexec

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/u-root/u-root/pkg/cpio"
)

// maxFirst is the most that an initramfs may unpack to, four times today's.
const maxFirst = 16 * mib

// firstOf takes the small init out of the initramfs of the running release: its
// file /init. The release was verified when it was started, and lies where only
// root can change it.
func firstOf(initramfs string) (program []byte, err error) {
	f, err := os.Open(initramfs)
	if err != nil {
		return nil, fmt.Errorf("reading the running release's initramfs: %w", err)
	}
	defer f.Close()
	if program, err = initOf(f); err != nil {
		return nil, fmt.Errorf("reading %s: %w", initramfs, err)
	}
	return program, nil
}

// initOf reads /init from a compressed archive of the form "newc".
func initOf(packed io.Reader) ([]byte, error) {
	z, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	archive, err := io.ReadAll(io.LimitReader(z, maxFirst+1))
	if err != nil {
		return nil, err
	}
	if len(archive) > maxFirst {
		return nil, fmt.Errorf("it unpacks to more than %d MiB", maxFirst/mib)
	}
	for r := cpio.Newc.Reader(bytes.NewReader(archive)); ; {
		record, err := r.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it has no init")
		}
		if err != nil {
			return nil, err
		}
		if record.Name == "init" {
			return io.ReadAll(io.NewSectionReader(record, 0, int64(record.FileSize)))
		}
	}
}
