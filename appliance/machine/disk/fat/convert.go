package fat

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Convert writes the file system of size bytes at r's offset 0 to w, as Write
// does, with sectors of another size, and returns where each file lies: the same
// files in the same order, under the same label and serial number, as old as the
// label. The file system does not move on its disk.
func Convert(w io.WriterAt, r io.ReaderAt, size, sector int64) (map[string]Extent, error) {
	found, err := Read(r, size)
	if err != nil {
		return nil, err
	}
	v, err := describe(r)
	if err != nil {
		return nil, err
	}
	v.Size, v.Sector = size, sector
	var files []File
	for _, name := range slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		return cmp.Or(cmp.Compare(found[a].Offset, found[b].Offset), strings.Compare(a, b))
	}) {
		at := found[name]
		files = append(files, File{Path: name, Size: at.Size, From: io.NewSectionReader(r, at.Offset, at.Size)})
	}
	return Write(w, v, files)
}

// describe reads what Write was told of a file system that Read accepts. Where
// the label is missing the time is that of the folder's first entry.
func describe(r io.ReaderAt) (v Volume, err error) {
	b := make([]byte, bootSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return v, fmt.Errorf("reading the boot sector: %w", err)
	}
	le := binary.LittleEndian
	v.Sector = int64(le.Uint16(b[11:]))
	v.Start = int64(le.Uint32(b[28:])) * v.Sector
	v.Label = strings.TrimRight(string(b[43:54]), " ")
	v.Serial = [4]byte(b[SerialOffset:])
	first := make([]byte, entrySize)
	root := (reserved + tables*int64(le.Uint16(b[22:]))) * v.Sector
	if _, err := r.ReadAt(first, root); err != nil {
		return v, fmt.Errorf("reading the root folder: %w", err)
	}
	v.Time = timeOf(le.Uint16(first[24:]), le.Uint16(first[22:]))
	return v, nil
}

// timeOf is what stamp turned into a date and a clock.
func timeOf(date, clock uint16) time.Time {
	return time.Date(1980+int(date>>9), time.Month(date>>5&15), int(date&31), int(clock>>11), int(clock>>5&63), 2*int(clock&31), 0, time.UTC)
}
