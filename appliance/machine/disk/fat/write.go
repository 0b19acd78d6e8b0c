package fat

import (
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// Write writes the file system to w, whose offset 0 is its first byte, and
// returns where each file lies. Bytes that hold nothing are not written, so w
// must read as zeros there. Files lie in the order given.
func Write(w io.WriterAt, v Volume, files []File) (map[string]Extent, error) {
	g, err := layout(v.Size)
	if err != nil {
		return nil, err
	}
	if len(v.Label) > 11 || v.Label != strings.ToUpper(v.Label) {
		return nil, fmt.Errorf("volume label %q: at most 11 upper-case characters", v.Label)
	}
	wr := &writer{w: w, g: g, v: v, next: firstCluster, table: make([]uint16, g.clusters+firstCluster), placed: map[string]Extent{}}
	wr.table[0], wr.table[1] = 0xFF00|media, endOfChain
	root := &folder{}
	for _, f := range files {
		if err := root.add(strings.Split(f.Path, "/"), f); err != nil {
			return nil, err
		}
	}
	if err := wr.files(files); err != nil {
		return nil, err
	}
	if err := wr.root(root); err != nil {
		return nil, err
	}
	if err := wr.tables(); err != nil {
		return nil, err
	}
	return wr.placed, wr.at(bootSector(g, v), 0)
}

// folder is a directory to write, entries in the order they were first named.
type folder struct {
	names   []string
	folders map[string]*folder
	files   map[string]File
}

func (d *folder) add(parts []string, f File) error {
	name := parts[0]
	if err := checkName(name); err != nil {
		return fmt.Errorf("path %q: %w", f.Path, err)
	}
	if d.folders == nil {
		d.folders, d.files = map[string]*folder{}, map[string]File{}
	}
	_, isFile := d.files[name]
	sub, isFolder := d.folders[name]
	switch {
	case isFile, isFolder && len(parts) == 1:
		return fmt.Errorf("path %q is there twice", f.Path)
	case len(parts) == 1:
		d.names, d.files[name] = append(d.names, name), f
		return nil
	case !isFolder:
		sub = &folder{}
		d.names, d.folders[name] = append(d.names, name), sub
	}
	return sub.add(parts[1:], f)
}

type writer struct {
	w      io.WriterAt
	g      geometry
	v      Volume
	next   int64 // first free cluster
	table  []uint16
	placed map[string]Extent
}

func (w *writer) at(data []byte, offset int64) error {
	if _, err := w.w.WriteAt(data, offset); err != nil {
		return fmt.Errorf("writing the boot file system: %w", err)
	}
	return nil
}

// allocate takes clusters for that many bytes, one after the other. An empty
// file has none, and its first cluster is 0.
func (w *writer) allocate(bytes int64) (first int64, err error) {
	n := w.g.clustersFor(bytes)
	if n == 0 {
		return 0, nil
	}
	first = w.next
	if first+n > w.g.clusters+firstCluster {
		return 0, fmt.Errorf("the boot file system of %d bytes is full", w.v.Size)
	}
	for c := first; c < first+n-1; c++ {
		w.table[c] = uint16(c + 1)
	}
	w.table[first+n-1] = endOfChain
	w.next += n
	return first, nil
}

func (w *writer) files(files []File) error {
	for _, f := range files {
		first, err := w.allocate(f.Size)
		if err != nil {
			return fmt.Errorf("placing %s: %w", f.Path, err)
		}
		extent := Extent{Size: f.Size}
		if first != 0 {
			extent.Offset = w.g.offset(first)
		}
		w.placed[f.Path] = extent
		if err := w.copy(f, extent); err != nil {
			return fmt.Errorf("copying %s: %w", f.Path, err)
		}
	}
	return nil
}

func (w *writer) copy(f File, to Extent) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(io.NewOffsetWriter(w.w, to.Offset), io.LimitReader(r, f.Size+1))
	if err == nil && n != f.Size {
		return fmt.Errorf("it has changed: %d bytes were announced", f.Size)
	}
	return err
}

func (w *writer) root(d *folder) error {
	entries := entry([11]byte([]byte(pad(w.v.Label, 11))), attrVolumeID, 0, 0, w.v.Time)
	more, err := w.entries(d, "", 0)
	if err != nil {
		return err
	}
	entries = append(entries, more...)
	if len(entries) > rootEntries*entrySize {
		return fmt.Errorf("the root folder holds more than %d entries", rootEntries)
	}
	return w.at(entries, w.g.root*sectorSize)
}

// folder writes a folder below the root and returns its first cluster.
func (w *writer) folder(d *folder, name string, parent int64) (int64, error) {
	size := 2 * entrySize // "." and ".."
	for i, n := range d.names {
		_, long := names(n, i)
		size += len(long) + entrySize
	}
	first, err := w.allocate(int64(size))
	if err != nil {
		return 0, err
	}
	data := entry([11]byte([]byte(pad(".", 11))), attrDirectory, first, 0, w.v.Time)
	data = append(data, entry([11]byte([]byte(pad("..", 11))), attrDirectory, parent, 0, w.v.Time)...)
	more, err := w.entries(d, name, first)
	if err != nil {
		return 0, err
	}
	return first, w.at(append(data, more...), w.g.offset(first))
}

// entries renders what a folder holds, writing the folders below it first.
func (w *writer) entries(d *folder, name string, cluster int64) ([]byte, error) {
	var data []byte
	for i, n := range d.names {
		attr, first, size := byte(attrArchive), int64(0), int64(0)
		if sub, ok := d.folders[n]; ok {
			at, err := w.folder(sub, path.Join(name, n), cluster)
			if err != nil {
				return nil, err
			}
			attr, first = attrDirectory, at
		} else {
			extent := w.placed[path.Join(name, n)]
			size = extent.Size
			if size > 0 {
				first = (extent.Offset/sectorSize-w.g.data)/w.g.perCluster + firstCluster
			}
		}
		short, long := names(n, i)
		data = append(append(data, long...), entry(short, attr, first, size, w.v.Time)...)
	}
	return data, nil
}

func (w *writer) tables() error {
	data := make([]byte, w.g.perTable*sectorSize)
	for i, v := range w.table {
		binary.LittleEndian.PutUint16(data[2*i:], v)
	}
	for i := range int64(tables) {
		if err := w.at(data, (reserved+i*w.g.perTable)*sectorSize); err != nil {
			return err
		}
	}
	return nil
}

func bootSector(g geometry, v Volume) []byte {
	b := make([]byte, sectorSize)
	copy(b, "\xEB\x3C\x90PHASE   ")
	le := binary.LittleEndian
	le.PutUint16(b[11:], sectorSize)
	b[13] = byte(g.perCluster)
	le.PutUint16(b[14:], reserved)
	b[16] = tables
	le.PutUint16(b[17:], rootEntries)
	if g.sectors < 1<<16 {
		le.PutUint16(b[19:], uint16(g.sectors))
	} else {
		le.PutUint32(b[32:], uint32(g.sectors))
	}
	b[21] = media
	le.PutUint16(b[22:], uint16(g.perTable))
	le.PutUint16(b[24:], 63)  // sectors per track and heads: for INT 13h without
	le.PutUint16(b[26:], 255) // LBA, which nothing here uses
	le.PutUint32(b[28:], uint32(v.Start/sectorSize))
	b[36], b[38] = 0x80, 0x29
	copy(b[SerialOffset:], v.Serial[:])
	copy(b[43:], pad(v.Label, 11))
	copy(b[54:], "FAT16   ")
	le.PutUint16(b[510:], 0xAA55)
	return b
}

// SerialOffset is where the four bytes of the volume's serial number lie.
const SerialOffset = 39

func entry(short [11]byte, attr byte, cluster, size int64, t time.Time) []byte {
	b := make([]byte, entrySize)
	copy(b, short[:])
	b[11] = attr
	date, clock := stamp(t)
	le := binary.LittleEndian
	le.PutUint16(b[14:], clock) // made
	le.PutUint16(b[16:], date)
	le.PutUint16(b[18:], date)  // read
	le.PutUint16(b[22:], clock) // written
	le.PutUint16(b[24:], date)
	le.PutUint16(b[26:], uint16(cluster))
	le.PutUint32(b[28:], uint32(size))
	return b
}

// stamp is a time as FAT keeps it, in UTC; FAT begins in 1980.
func stamp(t time.Time) (date, clock uint16) {
	t = t.UTC()
	if t.Year() < 1980 || t.Year() > 2107 {
		return 1<<5 | 1, 0
	}
	return uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day()),
		uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
}

func pad(s string, n int) string { return (s + strings.Repeat(" ", n))[:n] }
