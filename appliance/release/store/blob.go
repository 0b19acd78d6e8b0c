package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/release/manifest"
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
	digest  names.Digest

	looking atomic.Bool                    // a file that was changed is being hashed again
	looked  atomic.Pointer[syscall.Stat_t] // how it was when that last began
}

// Size in bytes.
func (b *Blob) Size() int64 { return b.size }

// Digest is the SHA-256 of the bytes.
func (b *Blob) Digest() names.Digest { return b.digest }

// Intact is false once the bytes were changed where they lie. Whether they were
// is not always known: a link made to a file changes its inode and no more. So
// a file that was changed is hashed again, in the background and once for each
// change, and is intact again if it is what it was.
func (b *Blob) Intact() bool {
	if b.content.Intact() {
		return true
	}
	b.lookAgain()
	return false
}

func (b *Blob) lookAgain() {
	f, ok := b.content.(*file)
	if !ok {
		return
	}
	now, err := f.look()
	if err != nil || now.Size != b.size || time.Since(time.Unix(now.Ctim.Unix())) < rest {
		return // or not yet: the next call begins
	}
	if last := b.looked.Load(); last != nil && last.Ctim == now.Ctim || !b.looking.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer b.looking.Store(false)
		b.looked.Store(&now)
		b.rehash(context.Background())
	}()
}

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

// open hashes what a source gives and compares it with what the manifest says.
// If held, which may be nil, is of the same digest and the source gives the
// very same file, held is the answer and nothing is hashed.
func open(ctx context.Context, name string, want manifest.Artifact, source Source, held *Blob) (*Blob, error) {
	content, err := source()
	if err != nil {
		return nil, fmt.Errorf("opening its %s: %w", name, err)
	}
	if held != nil && held.size == want.Size && same(held.content, content) && held.Intact() {
		content.Close()
		return held, nil
	}
	refuse := func(code refusal.Code, format string, args ...any) (*Blob, error) {
		content.Close()
		return nil, refusal.New(code, format, args...)
	}
	if size, exact := content.Size(); size < want.Size || exact && size != want.Size {
		return refuse(refusal.Size, "%s has %s (%d bytes), the manifest says %d bytes", name, ui.Bytes(size), size, want.Size)
	}
	digest, err := hash(ctx, content, want.Size)
	if err != nil {
		content.Close()
		return nil, fmt.Errorf("hashing its %s: %w", name, err)
	}
	if digest != want.SHA256 {
		return refuse(refusal.Digest, "%s is %s, the manifest says %s", name, digest, want.SHA256)
	}
	b := &Blob{content: content, size: want.Size, digest: digest}
	for range rehashes {
		if content.Intact() || b.rehash(ctx) {
			return b, nil
		}
	}
	content.Close()
	return nil, fmt.Errorf("hashing its %s: %w", name, ErrChanged)
}

// rehashes is how often a file that is changed while it is hashed is hashed again:
// another program may be making a link to it, or still be writing it.
const rehashes = 3

// hash is the SHA-256 of the first size bytes of a content.
func hash(ctx context.Context, content Content, size int64) (names.Digest, error) {
	is, err := manifest.Measure(ctx, io.NewSectionReader(content, 0, size))
	if err == nil && is.Size < size {
		err = io.ErrUnexpectedEOF
	}
	return is.SHA256, err
}

// rehash looks again at a blob that is not intact: a link made to its file, a
// new name or new permissions change nothing of its bytes. It reports whether
// the blob is what it was; one that is not stays as it is, not intact.
func (b *Blob) rehash(ctx context.Context) bool {
	f, ok := b.content.(*file)
	if !ok {
		return false
	}
	before, err := f.look()
	if err != nil || before.Size != b.size {
		return false
	}
	digest, err := hash(ctx, f, b.size)
	if err != nil || digest != b.digest {
		return false
	}
	f.seen.Store(&before)
	return f.Intact()
}

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
	seen   atomic.Pointer[syscall.Stat_t] // before its bytes were hashed
}

// rest is how long a file must have been left alone before it is hashed. The
// clock of file times ticks every few milliseconds: two changes within one
// tick look like one.
const rest = 20 * time.Millisecond

// openFile opens without waiting (a FIFO would wait for its writer) and keeps
// what tells a later change. A file renamed over or unlinked goes on being what
// it was.
func openFile(open func(flag int) (*os.File, error)) (Content, error) {
	f, err := open(os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	c := &file{File: f}
	if err := c.begin(); err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

func (f *file) begin() error {
	st, err := f.look()
	if err != nil {
		return err
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		if changed := time.Unix(st.Ctim.Unix()); time.Since(changed) < rest {
			time.Sleep(rest)
			if st, err = f.look(); err != nil {
				return err
			}
		}
		f.size = st.Size
	case syscall.S_IFBLK:
		f.device = true
		if f.size, err = f.Seek(0, io.SeekEnd); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither a regular file nor a block device", f.Name())
	}
	f.seen.Store(&st)
	return nil
}

func (f *file) look() (st syscall.Stat_t, err error) {
	info, err := f.Stat()
	if err != nil {
		return st, err
	}
	return *info.Sys().(*syscall.Stat_t), nil
}

func (f *file) Size() (int64, bool) { return f.size, !f.device }

// Intact compares size and times. The modification time alone would not do:
// a program that writes a file may set it back, and cp -p does. The time of the last
// change of the inode cannot be set, but it moves too when the file loses a
// name. One that has no name left cannot be opened any more.
func (f *file) Intact() bool {
	if f.device {
		// A mounted partition's node says nothing of its content; the one
		// used here is the read-only root file system.
		return true
	}
	was := f.seen.Load()
	is, err := f.look()
	return err == nil && is.Size == was.Size && is.Mtim == was.Mtim && (is.Ctim == was.Ctim || is.Nlink == 0)
}

// same says whether two contents are one file, so that what is known of the
// first holds for the second.
func same(a, b Content) bool {
	x, ok := a.(*file)
	y, also := b.(*file)
	if !ok || !also {
		return false
	}
	s, t := x.seen.Load(), y.seen.Load()
	return s.Dev == t.Dev && s.Ino == t.Ino
}
