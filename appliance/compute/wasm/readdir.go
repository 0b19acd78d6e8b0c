package wasm

import (
	"encoding/binary"
	"syscall"

	"phase/appliance/compute/hostfs"
)

// listing is a directory that is being read. A module reads on at a cookie,
// which here is the number of entries before it: small, as some C libraries
// keep it in 32 bits, while the kernel's positions may take 63.
type listing struct {
	hostfs.File // the directory, opened for this alone
	entries     []hostfs.Entry
	first       int     // how many entries are before those
	positions   []int64 // the kernel's, after each entry that was ever read
	buffer      []byte
}

// inKernel is how many bytes of entries are read at once.
const inKernel = 8 << 10

// entrySize is the size of an entry without its name.
const entrySize = 24

// readdir fills a buffer with entries. The last may be cut off: only a buffer
// that is not full tells the module that there is no more.
func readdir(c call, d *descriptor) errno {
	switch {
	case d.folder == nil:
		return notdir
	case d.base&mayReaddir == 0:
		return notcapable
	}
	out, ok := c.Memory().Read(c.arg(1), c.arg(2))
	if !ok {
		return fault
	}
	if d.list == nil {
		dir, err := d.folder.Open(".", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			return errnoOf(err)
		}
		d.list = &listing{File: dir, buffer: make([]byte, inKernel)}
	}
	entries, no := d.list.from(c.arg64(3))
	used := 0
	for cookie := c.arg64(3); no == success && used < len(out); {
		if len(entries) == 0 {
			if entries, no = d.list.next(); len(entries) == 0 {
				break
			}
		}
		cookie++
		used += copy(out[used:], d.entry(entries[0], cookie))
		entries = entries[1:]
	}
	if no != success {
		return no
	}
	return c.put32(4, uint32(used))
}

// entry is an entry as the module reads it.
func (d *descriptor) entry(e hostfs.Entry, cookie uint64) []byte {
	kind := fileType(uint32(e.Type) << 12) // DT_… is the type in a mode, shifted
	if e.Type == syscall.DT_UNKNOWN {
		if stat, err := d.folder.Stat(e.Name, false); err == nil {
			kind = fileType(stat.Mode)
		}
	}
	b := make([]byte, entrySize, entrySize+len(e.Name))
	binary.LittleEndian.PutUint64(b, cookie)
	binary.LittleEndian.PutUint64(b[8:], e.Inode)
	binary.LittleEndian.PutUint32(b[16:], uint32(len(e.Name)))
	b[20] = kind
	return append(b, e.Name...)
}

// from returns what is read already of the entries after a cookie. Where that is
// somewhere else in the directory, it is read on from there; in the same place
// it is not sought, as the kernel may count the entries anew after a change.
// After the end of the directory there are none.
func (l *listing) from(cookie uint64) ([]hostfs.Entry, errno) {
	known := min(cookie, uint64(len(l.positions)))
	if cookie == 0 || cookie < uint64(l.first) || known > uint64(l.first+len(l.entries)) {
		var position int64
		if known > 0 {
			position = l.positions[known-1]
		}
		if _, err := l.Seek(position, 0); err != nil {
			return nil, errnoOf(err)
		}
		l.first, l.entries = int(known), nil
	}
	for cookie > uint64(l.first+len(l.entries)) {
		if more, no := l.next(); len(more) == 0 {
			return nil, no
		}
	}
	return l.entries[cookie-uint64(l.first):], success
}

// next reads on after the entries that were read last; none are left at the end.
func (l *listing) next() ([]hostfs.Entry, errno) {
	more, err := l.Entries(l.buffer)
	if err != nil || len(more) == 0 {
		return nil, errnoOf(err)
	}
	l.first, l.entries = l.first+len(l.entries), more
	l.positions = l.positions[:min(len(l.positions), l.first+len(more))]
	for i, e := range more {
		if at := l.first + i; at < len(l.positions) {
			l.positions[at] = e.Next
		} else {
			l.positions = append(l.positions, e.Next)
		}
	}
	return more, success
}
