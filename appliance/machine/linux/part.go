package linux

import (
	"os"

	"golang.org/x/sys/unix"
)

// Part is a stretch of a file, Size bytes from At on.
type Part struct {
	File     *os.File
	At, Size int64
}

// Map makes the bytes readable where they lie; not after unmap.
func (p Part) Map() (data []byte, unmap func(), err error) {
	// A mapping begins where a page does.
	skip := p.At % int64(os.Getpagesize())
	pages, err := unix.Mmap(int(p.File.Fd()), p.At-skip, int(skip+p.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return pages[skip:], func() { _ = unix.Munmap(pages) }, nil // it fails for what is no mapping only
}
