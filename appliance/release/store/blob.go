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

// Source opens the file of one artifact.
type Source func() (*Blob, error)

// Blob is the bytes of one artifact, hashed, in the file they were hashed from:
// a regular file or a block device. It is safe for use by many at once.
type Blob struct {
	file   *os.File
	device bool // may hold more than the artifact
	size   int64
	digest names.Digest
	seen   atomic.Pointer[syscall.Stat_t] // how the file was before its bytes were hashed

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
	if b.unchanged() {
		return true
	}
	b.lookAgain()
	return false
}

// unchanged compares size and times. The modification time alone would not do:
// a program that writes a file may set it back, and cp -p does. The time of the last
// change of the inode cannot be set, but it moves too when the file loses a
// name. One that has no name left cannot be opened any more.
func (b *Blob) unchanged() bool {
	if b.device {
		// A mounted partition's node says nothing of its content; the one
		// used here is the read-only root file system.
		return true
	}
	was := b.seen.Load()
	is, err := look(b.file)
	return err == nil && is.Size == was.Size && is.Mtim == was.Mtim && (is.Ctim == was.Ctim || is.Nlink == 0)
}

func (b *Blob) lookAgain() {
	now, err := look(b.file)
	if err != nil || now.Size != b.size || time.Since(time.Unix(now.Ctim.Unix())) < rest {
		return // or not yet: the next call begins
	}
	if last := b.looked.Load(); last != nil && last.Ctim == now.Ctim || !b.looking.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer b.looking.Store(false)
		b.looked.Store(now)
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
	n, err := b.file.ReadAt(p, off)
	// The look comes after the read: a change that came before it, or
	// meanwhile, is seen.
	if !b.unchanged() {
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

// open hashes what a source gives and compares it with what the manifest says.
// If held, which may be nil, is of the same digest and the source gives the
// very same file, held is the answer and nothing is hashed.
func open(ctx context.Context, name string, want manifest.Artifact, source Source, held *Blob) (*Blob, error) {
	b, err := source()
	if err != nil {
		return nil, fmt.Errorf("opening its %s: %w", name, err)
	}
	if held != nil && held.size == want.Size && held.same(b) && held.Intact() {
		b.file.Close()
		return held, nil
	}
	if err := b.check(ctx, name, want); err != nil {
		b.file.Close()
		return nil, err
	}
	return b, nil
}

// check hashes a file that was just opened and makes it the blob of an artifact.
func (b *Blob) check(ctx context.Context, name string, want manifest.Artifact) error {
	if b.size < want.Size || !b.device && b.size != want.Size {
		return refusal.New(refusal.Size, "%s has %s (%d bytes), the manifest says %d bytes", name, ui.Bytes(b.size), b.size, want.Size)
	}
	b.size = want.Size
	is, err := b.measure(ctx)
	if err != nil {
		return fmt.Errorf("hashing its %s: %w", name, err)
	}
	if is != want {
		return refusal.New(refusal.Digest, "%s is %s, the manifest says %s", name, is.SHA256, want.SHA256)
	}
	b.digest = want.SHA256
	for range rehashes {
		if b.unchanged() || b.rehash(ctx) {
			return nil
		}
	}
	return fmt.Errorf("hashing its %s: %w", name, ErrChanged)
}

// rehashes is how often a file that is changed while it is hashed is hashed again:
// another program may be making a link to it, or still be writing it.
const rehashes = 3

func (b *Blob) measure(ctx context.Context) (manifest.Artifact, error) {
	is, err := manifest.Measure(ctx, io.NewSectionReader(b.file, 0, b.size))
	if err == nil && is.Size < b.size {
		err = io.ErrUnexpectedEOF
	}
	return is, err
}

// rehash looks again at a blob that is not intact: a link made to its file, a
// new name or new permissions change nothing of its bytes. It reports whether
// the blob is what it was; one that is not stays as it is, not intact.
func (b *Blob) rehash(ctx context.Context) bool {
	before, err := look(b.file)
	if err != nil || before.Size != b.size {
		return false
	}
	is, err := b.measure(ctx)
	if err != nil || is.SHA256 != b.digest {
		return false
	}
	b.seen.Store(before)
	return b.unchanged()
}

// openFlags do not wait: a FIFO would wait for its writer.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// File is a Source of a regular file or a block device by its path.
func File(path string) Source {
	return func() (*Blob, error) { return begin(os.OpenFile(path, openFlags, 0)) }
}

// FileIn is File below a root that no link and no ".." leads out of.
func FileIn(root *os.Root, name string) Source {
	return func() (*Blob, error) { return begin(root.OpenFile(name, openFlags, 0)) }
}

// rest is how long a file must have been left alone before it is hashed. The
// clock of file times ticks every few milliseconds: two changes within one
// tick look like one.
const rest = 20 * time.Millisecond

// begin keeps of a file just opened what tells a later change. A file renamed
// over or unlinked goes on being what it was.
func begin(f *os.File, err error) (*Blob, error) {
	if err != nil {
		return nil, err
	}
	b := &Blob{file: f}
	if err := b.begin(); err != nil {
		f.Close()
		return nil, err
	}
	return b, nil
}

func (b *Blob) begin() error {
	st, err := look(b.file)
	if err != nil {
		return err
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		if changed := time.Unix(st.Ctim.Unix()); time.Since(changed) < rest {
			time.Sleep(rest)
			if st, err = look(b.file); err != nil {
				return err
			}
		}
		b.size = st.Size
	case syscall.S_IFBLK:
		b.device = true
		if b.size, err = b.file.Seek(0, io.SeekEnd); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither a regular file nor a block device", b.file.Name())
	}
	b.seen.Store(st)
	return nil
}

func look(f *os.File) (*syscall.Stat_t, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return info.Sys().(*syscall.Stat_t), nil
}

// same says whether two blobs are one file, so that what is known of the first
// holds for the second.
func (b *Blob) same(other *Blob) bool {
	s, t := b.seen.Load(), other.seen.Load()
	return s.Dev == t.Dev && s.Ino == t.Ino
}
