package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"phase/appliance/machine/disk/parts"
)

// Write writes the file system to w, whose offset 0 is its first byte, and
// returns where each file lies. Bytes that hold nothing are not written, so w
// must read as zeros there.
func Write(w io.WriterAt, v Volume, files []File) (map[string]Extent, error) {
	image, placed, err := Lay(v, files)
	if err != nil {
		return nil, err
	}
	for _, p := range image.Parts(0) {
		if _, err := io.Copy(io.NewOffsetWriter(w, p.Start), io.NewSectionReader(image, p.Start, p.Size)); err != nil {
			return nil, fmt.Errorf("writing the boot file system: %w", err)
		}
	}
	return placed, nil
}

// Lay makes the file system without reading a file, and returns where each one
// lies: in the order given, each in one piece.
func Lay(v Volume, files []File) (image parts.Image, placed map[string]Extent, err error) {
	g, err := layout(v.Size, v.Sector)
	if err != nil {
		return image, nil, err
	}
	if len(v.Label) > 11 || v.Label != strings.ToUpper(v.Label) {
		return image, nil, fmt.Errorf("volume label %q: at most 11 upper-case characters", v.Label)
	}
	wr := &writer{g: g, v: v, next: firstCluster, table: make([]byte, g.perTable*g.sector)}
	if placed, err = wr.lay(files); err == nil {
		image, err = parts.New(v.Size, wr.parts...)
	}
	return image, placed, err
}

func (w *writer) lay(files []File) (map[string]Extent, error) {
	w.g.put(w.table, 0, w.g.endOfChain()&^0xFF|media)
	w.g.put(w.table, 1, w.g.endOfChain())
	root, placed := &node{}, map[string]Extent{}
	for _, f := range files {
		n, err := root.add(f.Path, strings.Split(f.Path, "/"))
		if err != nil {
			return nil, err
		}
		if placed[f.Path], err = w.file(n, f); err != nil {
			return nil, err
		}
	}
	entries := entry([11]byte([]byte(pad(w.v.Label, 11))), attrVolumeID, 0, 0, w.v.Time)
	more, err := w.entries(root)
	if err != nil {
		return nil, err
	}
	entries = append(entries, more...)
	if len(entries) > rootEntries*entrySize {
		return nil, fmt.Errorf("the root folder holds more than %d entries", rootEntries)
	}
	w.at(entries, w.g.root*w.g.sector)
	for i := range int64(tables) {
		w.at(w.table, (reserved+i*w.g.perTable)*w.g.sector)
	}
	w.at(bootSector(w.g, w.v), 0)
	return placed, nil
}

// node is a file or a folder to write. A folder's entries are in the order they
// were first named.
type node struct {
	name     string
	file     bool
	size     int64 // bytes of a file
	first    int64 // its first cluster; 0: it has none
	children []*node
}

// add makes the file at a path, of which parts is the rest, and the folders it
// is in.
func (n *node) add(path string, parts []string) (*node, error) {
	name, isFile := parts[0], len(parts) == 1
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("path %q: %w", path, err)
	}
	i := slices.IndexFunc(n.children, func(c *node) bool { return strings.EqualFold(c.name, name) })
	if i >= 0 && (isFile || n.children[i].file || n.children[i].name != name) { // case is not looked at
		return nil, fmt.Errorf("path %q is there twice", path)
	}
	if i < 0 {
		i = len(n.children)
		n.children = append(n.children, &node{name: name, file: isFile})
	}
	if isFile {
		return n.children[i], nil
	}
	return n.children[i].add(path, parts[1:])
}

type writer struct {
	g     geometry
	v     Volume
	next  int64 // first free cluster
	table []byte
	parts []parts.Part
}

func (w *writer) at(data []byte, offset int64) {
	w.parts = append(w.parts, parts.Part{Start: offset, Size: int64(len(data)), From: bytes.NewReader(data)})
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
		w.g.put(w.table, c, uint16(c+1))
	}
	w.g.put(w.table, first+n-1, w.g.endOfChain())
	w.next += n
	return first, nil
}

// file places a file.
func (w *writer) file(n *node, f File) (to Extent, err error) {
	n.size, to.Size = f.Size, f.Size
	if n.first, err = w.allocate(f.Size); err != nil {
		return to, fmt.Errorf("placing %s: %w", f.Path, err)
	}
	if n.first != 0 {
		to.Offset = w.g.offset(n.first)
		w.parts = append(w.parts, parts.Part{Start: to.Offset, Size: f.Size, From: f.From})
	}
	return to, nil
}

// folder writes a folder below the root, whose first cluster is parent; 0 is the
// root.
func (w *writer) folder(n *node, parent int64) (err error) {
	size := 2 * entrySize // "." and ".."
	for i, c := range n.children {
		_, long := names(c.name, i)
		size += len(long) + entrySize
	}
	if n.first, err = w.allocate(int64(size)); err != nil {
		return err
	}
	data := entry([11]byte([]byte(pad(".", 11))), attrDirectory, n.first, 0, w.v.Time)
	data = append(data, entry([11]byte([]byte(pad("..", 11))), attrDirectory, parent, 0, w.v.Time)...)
	more, err := w.entries(n)
	if err != nil {
		return err
	}
	w.at(append(data, more...), w.g.offset(n.first))
	return nil
}

// entries renders what a folder holds, writing the folders below it first.
func (w *writer) entries(n *node) (data []byte, err error) {
	for i, c := range n.children {
		attr := byte(attrArchive)
		if !c.file {
			attr = attrDirectory
			if err := w.folder(c, n.first); err != nil {
				return nil, err
			}
		}
		short, long := names(c.name, i)
		data = append(append(data, long...), entry(short, attr, c.first, c.size, w.v.Time)...)
	}
	return data, nil
}

func bootSector(g geometry, v Volume) []byte {
	b := make([]byte, bootSize)
	copy(b, "\xEB\x3C\x90PHASE   ")
	le := binary.LittleEndian
	le.PutUint16(b[11:], uint16(g.sector))
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
	le.PutUint32(b[28:], uint32(v.Start/g.sector))
	b[36], b[38] = 0x80, 0x29
	copy(b[SerialOffset:], v.Serial[:])
	copy(b[43:], pad(v.Label, 11))
	copy(b[54:], fmt.Sprintf("FAT%d   ", g.bits))
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
