// Package initrd lays out the archive that carries a release over a jump. A
// kernel unpacks several archives one after the other, so the signed initramfs
// comes first, byte for byte, and a second archive behind it holds the files of
// the release. Where each file's bytes go is known before the first of them
// arrives: a download is written straight into the place the kernel will read
// it from, and nothing is ever held twice.
//
// The format is "newc" (Documentation/driver-api/early-userspace/buffer-format.rst
// in Linux). Nothing here reads one: the kernel does, and u-root's reader in tests.
package initrd

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// File is a file to be carried.
type File struct {
	Name string // path without a leading slash
	Size int64  // bytes, less than 4 GiB
	// Program says that it may be run.
	Program bool
}

// Layout says where in the archive each file's bytes lie. Everything that is
// not a file's content or the prefix is written by WriteFrame.
type Layout struct {
	size   int64
	places map[string]place
	frames []frame
}

type place struct{ offset, size int64 }

// frame is a header with its name, or the trailer, and where it goes.
type frame struct {
	offset int64
	data   []byte
}

// Trailer is the name of the node that ends an archive.
const Trailer = "TRAILER!!!"

const (
	magic       = "070701"
	headerBytes = len(magic) + 13*8
	fileMode    = 0o100644
	programMode = 0o100755
	folderMode  = 0o040755
	maxSize     = 1<<32 - 1 // what 8 hexadecimal digits can say
	maxName     = 4096      // bytes of a path, with the zero behind it
)

// NewLayout plans the archive that begins with prefix bytes of another archive
// and then carries files, in that order, and the folders they are in.
func NewLayout(prefix int64, files []File) (*Layout, error) {
	if prefix < 0 || prefix > maxSize {
		return nil, fmt.Errorf("an initramfs of %d bytes", prefix)
	}
	l := &Layout{places: map[string]place{}}
	at := align(prefix)
	inode := 0
	// Times are zero: the same release gives the same bytes.
	head := func(n Node) {
		data := n.Header()
		l.frames = append(l.frames, frame{at, data})
		at = align(at + int64(len(data)))
	}
	made := map[string]bool{".": true}
	for _, f := range files {
		if !clean(f.Name) || f.Size < 0 || f.Size > maxSize {
			return nil, fmt.Errorf("a file %q of %d bytes cannot be carried", f.Name, f.Size)
		}
		if _, twice := l.places[f.Name]; twice || made[f.Name] {
			return nil, fmt.Errorf("%q is to be carried twice", f.Name)
		}
		for _, dir := range folders(f.Name) {
			if _, isFile := l.places[dir]; isFile {
				return nil, fmt.Errorf("%q is a file and a folder", dir)
			}
			if !made[dir] {
				made[dir] = true
				inode++
				head(Node{Name: dir, Mode: folderMode, Inode: inode})
			}
		}
		inode++
		mode := uint32(fileMode)
		if f.Program {
			mode = programMode
		}
		head(Node{Name: f.Name, Mode: mode, Inode: inode, Size: f.Size})
		l.places[f.Name] = place{at, f.Size}
		at = align(at + f.Size)
	}
	head(Node{Name: Trailer})
	l.size = at
	return l, nil
}

// Size is the length of the whole archive in bytes.
func (l *Layout) Size() int64 { return l.size }

// Offset is where the content of a file lies.
func (l *Layout) Offset(name string) (offset, size int64, ok bool) {
	p, ok := l.places[name]
	return p.offset, p.size, ok
}

// WriteFrame writes what lies between the contents. The gaps of alignment are
// left alone: w must read as zeros where nothing was written, as a new file or
// memfd of length Size does.
func (l *Layout) WriteFrame(w io.WriterAt) error {
	for _, f := range l.frames {
		if _, err := w.WriteAt(f.data, f.offset); err != nil {
			return fmt.Errorf("writing the archive that is carried over: %w", err)
		}
	}
	return nil
}

// Node is an entry of an archive.
type Node struct {
	Name         string
	Mode         uint32 // S_IF… and permissions
	Inode        int
	Size         int64 // bytes of content
	Modified     int64 // seconds since 1970
	Major, Minor int64 // of a device
}

// Header is the node's header and name, without the padding to a multiple of 4
// bytes behind them. The owner is root.
func (n Node) Header() []byte {
	links := 1
	if n.Mode&0o170000 == 0o040000 {
		links = 2
	}
	var b strings.Builder
	b.WriteString(magic)
	for _, field := range [13]int64{
		int64(n.Inode), int64(n.Mode), 0, 0, int64(links), n.Modified, n.Size, 0, 0, n.Major, n.Minor, int64(len(n.Name) + 1), 0,
	} {
		fmt.Fprintf(&b, "%08X", uint32(field))
	}
	b.WriteString(n.Name)
	b.WriteByte(0)
	return []byte(b.String())
}

// align rounds up to 4 bytes, where the kernel looks for the next header.
func align(n int64) int64 { return (n + 3) &^ 3 }

// clean says whether a path stays below the root it is unpacked in, and is UTF-8
// in its one shortest form.
func clean(name string) bool {
	return fs.ValidPath(name) && name != "." && name != Trailer && len(name) < maxName && !strings.ContainsRune(name, 0)
}

// folders are those that name lies in, the outermost first.
func folders(name string) []string {
	var all []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		all = append(all, dir)
	}
	slices.Reverse(all)
	return all
}
