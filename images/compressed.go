package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"phase/appliance/base/ui"
)

// zstdSuffix ends the name of a compressed image.
const zstdSuffix = ".zst"

// zstdWindow is what packing and unpacking cost in memory, in bytes.
const zstdWindow = 8 << 20

// compress writes zstd. One goroutine, so that the bytes depend on nothing but
// the input.
func compress(w io.Writer, r io.Reader) (int64, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(z, r)
	return n, errors.Join(err, z.Close())
}

// isCompressed says whether a file begins as zstd does (RFC 8878, section 3.1.1).
func isCompressed(f io.ReaderAt) (bool, error) {
	head := make([]byte, 4)
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return false, err
	}
	return bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), nil
}

// decompress writes what from holds, which must be size bytes: not one more is
// written.
func decompress(w io.Writer, from io.Reader, size int64) error {
	z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	n, err := io.CopyN(w, z, size)
	if err == io.EOF {
		return fmt.Errorf("it ends after %s, and the image has %s", ui.Bytes(n), ui.Bytes(size))
	}
	if err != nil {
		return err
	}
	if n, err := io.CopyN(io.Discard, z, 1); n > 0 || err != io.EOF {
		return fmt.Errorf("it does not end with the image, after %s", ui.Bytes(size))
	}
	return nil
}

// sparse writes a file and leaves holes where there are only zeros.
type sparse struct {
	file *os.File
	at   int64
}

func (s *sparse) Write(b []byte) (int, error) {
	if len(bytes.Trim(b, "\x00")) > 0 {
		if n, err := s.file.WriteAt(b, s.at); err != nil {
			return n, err
		}
	}
	s.at += int64(len(b))
	return len(b), nil
}

// close gives the file its length, where it ends in a hole.
func (s *sparse) close() error { return s.file.Truncate(s.at) }
