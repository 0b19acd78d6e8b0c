package initrd

import (
	"fmt"
	"io"
	"strconv"
)

// Caps of what is read.
const (
	maxName    = 4096
	maxEntries = 4096
)

// Entry is what an archive says of one file, and where its content lies.
type Entry struct {
	Name   string
	Mode   uint32 // S_IF… and permissions
	Size   int64
	Offset int64 // from the beginning of the reader
}

// Read lists an uncompressed newc archive that begins at offset at of r, which
// is size bytes long. Nothing of the contents is read. An archive that ends
// without its trailer, reaches beyond size, or names more than 4096 files or a
// path outside itself is refused.
func Read(r io.ReaderAt, at, size int64) ([]Entry, error) {
	var entries []Entry
	head := make([]byte, headerBytes)
	for {
		if _, err := r.ReadAt(head, at); err != nil || at+int64(headerBytes) > size {
			return nil, fmt.Errorf("the archive ends at %d without a trailer", at)
		}
		fields, err := parseHeader(head)
		if err != nil {
			return nil, fmt.Errorf("at %d of the archive: %w", at, err)
		}
		if fields.name < 2 || fields.name > maxName {
			return nil, fmt.Errorf("at %d of the archive: a name of %d bytes", at, fields.name)
		}
		name := make([]byte, fields.name)
		if _, err := r.ReadAt(name, at+int64(headerBytes)); err != nil {
			return nil, fmt.Errorf("at %d of the archive: its name is cut off", at)
		}
		if name[len(name)-1] != 0 {
			return nil, fmt.Errorf("at %d of the archive: its name has no end", at)
		}
		e := Entry{Name: string(name[:len(name)-1]), Mode: fields.mode, Size: fields.size, Offset: align(at + int64(headerBytes) + fields.name)}
		if e.Name == Trailer {
			return entries, nil
		}
		if !clean(e.Name) {
			return nil, fmt.Errorf("at %d of the archive: the name %.100q", at, e.Name)
		}
		if e.Offset+e.Size > size {
			return nil, fmt.Errorf("%s: %d bytes reach beyond the end of the archive", e.Name, e.Size)
		}
		if len(entries) == maxEntries {
			return nil, fmt.Errorf("the archive holds more than %d files", maxEntries)
		}
		entries = append(entries, e)
		at = align(e.Offset + e.Size)
	}
}

type fields struct {
	mode       uint32
	size, name int64
}

func parseHeader(head []byte) (fields, error) {
	if string(head[:len(magic)]) != magic {
		return fields{}, fmt.Errorf("no newc header")
	}
	var n [13]uint64
	for i := range n {
		var err error
		// ParseUint takes signs and underscores in no base but 0.
		n[i], err = strconv.ParseUint(string(head[len(magic)+8*i:][:8]), 16, 32)
		if err != nil {
			return fields{}, fmt.Errorf("a header with %.8q as a number", head[len(magic)+8*i:][:8])
		}
	}
	return fields{mode: uint32(n[1]), size: int64(n[6]), name: int64(n[11])}, nil
}
