package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"phase/appliance/release"
	"phase/appliance/trust"
	"phase/appliance/ui"
)

// ErrChanged is returned when the bytes of an artifact were changed where they
// lie after they were hashed. They are not the artifact any more.
var ErrChanged = errors.New("the file was changed after it was hashed")

// Content is bytes that can be read at any offset.
type Content interface {
	io.ReaderAt
	io.Closer
	// Size is how many bytes there are; more than the artifact has is allowed
	// only where Exact is false, as on a partition.
	Size() (n int64, exact bool)
	// Intact is false once the bytes were changed since they were opened.
	Intact() bool
}

// Source opens the bytes of one artifact.
type Source func() (Content, error)

// Blob is the bytes of one artifact, hashed. It is safe for use by many at once.
type Blob struct {
	content Content
	size    int64
	digest  release.Digest
}

// Size in bytes.
func (b *Blob) Size() int64 { return b.size }

// Digest is the SHA-256 of the bytes.
func (b *Blob) Digest() release.Digest { return b.digest }

// Intact is false once the bytes were changed where they lie.
func (b *Blob) Intact() bool { return b.content.Intact() }

// ReadAt reads as io.ReaderAt. Bytes changed since they were hashed give
// ErrChanged.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= b.size {
		return 0, io.EOF
	}
	short := false
	if max := b.size - off; int64(len(p)) > max {
		p, short = p[:max], true
	}
	n, err := b.content.ReadAt(p, off)
	// The look comes after the read: a change that came before it, or
	// meanwhile, is seen.
	if !b.content.Intact() {
		return 0, ErrChanged
	}
	if n == len(p) {
		err = nil
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

func (b *Blob) close() { b.content.Close() }

// hashChunk is how much is read between two looks at the context: some tens of
// milliseconds of hashing on the slowest machine (20 MB/s under emulation).
const hashChunk = 1 << 20

// open hashes what a source gives and compares it with what the manifest says.
func open(ctx context.Context, name string, want release.Artifact, source Source) (*Blob, error) {
	content, err := source()
	if err != nil {
		return nil, fmt.Errorf("opening its %s: %w", name, err)
	}
	refuse := func(code trust.Code, format string, args ...any) (*Blob, error) {
		content.Close()
		return nil, trust.Refuse(code, format, args...)
	}
	if size, exact := content.Size(); size < want.Size || exact && size != want.Size {
		return refuse(trust.Size, "%s has %s (%d bytes), the manifest says %d bytes", name, ui.Bytes(size), size, want.Size)
	}
	sum := sha256.New()
	for off := int64(0); off < want.Size; {
		if err := ctx.Err(); err != nil {
			content.Close()
			return nil, fmt.Errorf("hashing its %s: %w", name, err)
		}
		n, err := io.Copy(sum, io.NewSectionReader(content, off, min(hashChunk, want.Size-off)))
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			content.Close()
			return nil, fmt.Errorf("hashing its %s: %w", name, err)
		}
		off += n
	}
	digest := release.Digest(sum.Sum(nil))
	if digest != want.SHA256 {
		return refuse(trust.Digest, "%s is %s, the manifest says %s", name, digest, want.SHA256)
	}
	if !content.Intact() {
		content.Close()
		return nil, fmt.Errorf("hashing its %s: %w", name, ErrChanged)
	}
	return &Blob{content: content, size: want.Size, digest: digest}, nil
}

// Bytes is a Source of bytes in memory, which the caller leaves alone.
func Bytes(data []byte) Source {
	return func() (Content, error) { return memory{bytes.NewReader(data)}, nil }
}

type memory struct{ *bytes.Reader }

func (m memory) Size() (int64, bool) { return m.Reader.Size(), true }
func (memory) Intact() bool          { return true }
func (memory) Close() error          { return nil }

// File is a Source of a regular file or a block device by its path.
func File(path string) Source {
	return func() (Content, error) {
		return openFile(func(flag int) (*os.File, error) { return os.OpenFile(path, flag, 0) })
	}
}

// FileIn is File below a root that no link and no ".." leads out of.
func FileIn(root *os.Root, name string) Source {
	return func() (Content, error) {
		return openFile(func(flag int) (*os.File, error) { return root.OpenFile(name, flag, 0) })
	}
}

type file struct {
	*os.File
	size   int64
	device bool
	mtime  time.Time
}

// openFile opens without waiting (a FIFO would wait for its writer) and keeps
// what tells a later change: size and modification time of the open file. A
// file renamed or unlinked away goes on being what it was.
func openFile(open func(flag int) (*os.File, error)) (Content, error) {
	f, err := open(os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	c := &file{File: f, size: info.Size(), mtime: info.ModTime()}
	switch mode := info.Mode(); {
	case mode.IsRegular():
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		c.device = true
		if c.size, err = f.Seek(0, io.SeekEnd); err != nil {
			f.Close()
			return nil, err
		}
	default:
		f.Close()
		return nil, fmt.Errorf("%s is neither a regular file nor a block device", f.Name())
	}
	return c, nil
}

func (f *file) Size() (int64, bool) { return f.size, !f.device }

func (f *file) Intact() bool {
	if f.device {
		// A mounted partition's node says nothing of its content; the one
		// used here is the read-only root file system.
		return true
	}
	info, err := f.Stat()
	return err == nil && info.Size() == f.size && info.ModTime().Equal(f.mtime)
}
