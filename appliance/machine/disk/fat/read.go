package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf16"
)

// What a boot partition may hold; a hostile image cannot make Read work longer.
const (
	maxEntries = 4096
	maxDepth   = 8
)

// ErrFormat is wrapped by every refusal of what is not such a file system.
var ErrFormat = errors.New("not a FAT file system as Phase writes it")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Read finds every file of a file system of at most size bytes that begins at
// r's offset 0. A file that does not lie in one piece is refused, since nothing
// here writes one.
func Read(r io.ReaderAt, size int64) (map[string]Extent, error) {
	b := make([]byte, bootSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector: %w", err)
	}
	g, err := parseBootSector(b, size)
	if err != nil {
		return nil, err
	}
	table := make([]byte, g.perTable*g.sector)
	if _, err := r.ReadAt(table, reserved*g.sector); err != nil {
		return nil, fmt.Errorf("reading the allocation table: %w", err)
	}
	rd := &reader{r: r, g: g, table: table, found: map[string]Extent{}}
	return rd.found, rd.folder(Extent{g.root * g.sector, rootEntries * entrySize}, "", 0)
}

func parseBootSector(b []byte, size int64) (geometry, error) {
	le := binary.LittleEndian
	sector := int64(le.Uint16(b[11:]))
	if le.Uint16(b[510:]) != 0xAA55 ||
		le.Uint16(b[14:]) != reserved || b[16] != tables || le.Uint16(b[17:]) != rootEntries {
		return geometry{}, bad("boot sector")
	}
	sectors := int64(le.Uint16(b[19:]))
	if sectors == 0 {
		sectors = int64(le.Uint32(b[32:]))
	}
	if sectors*sector > size {
		return geometry{}, bad("it says it has %d bytes, and there are %d", sectors*sector, size)
	}
	g, err := layout(sectors*sector, sector)
	if err != nil || g.perCluster != int64(b[13]) || g.perTable != int64(le.Uint16(b[22:])) {
		return geometry{}, bad("geometry")
	}
	return g, nil
}

type reader struct {
	r       io.ReaderAt
	g       geometry
	table   []byte
	found   map[string]Extent
	entries int
}

// piece is where size bytes lie that begin at a cluster; a folder's size is
// not written down, so -1 means up to the end of the chain.
func (r *reader) piece(cluster, size int64) (Extent, error) {
	if size == 0 {
		return Extent{}, nil
	}
	n := int64(1)
	for c := cluster; ; c++ {
		if c < firstCluster || c >= r.g.clusters+firstCluster {
			return Extent{}, bad("cluster %d", c)
		}
		next := r.g.get(r.table, c)
		if next == r.g.endOfChain() {
			break
		}
		if int64(next) != c+1 {
			return Extent{}, bad("a file in pieces")
		}
		n++
	}
	if size < 0 {
		size = n * r.g.clusterBytes()
	}
	if r.g.clustersFor(size) != n {
		return Extent{}, bad("%d bytes in %d clusters", size, n)
	}
	return Extent{r.g.offset(cluster), size}, nil
}

func (r *reader) folder(at Extent, name string, depth int) error {
	if depth > maxDepth || at.Size > maxEntries*entrySize {
		return bad("folder %q is too deep or too large", name)
	}
	data := make([]byte, at.Size)
	if _, err := r.r.ReadAt(data, at.Offset); err != nil {
		return fmt.Errorf("reading folder %q: %w", name, err)
	}
	var long []uint16
	for ; len(data) > 0 && data[0] != 0; data = data[entrySize:] {
		e := data[:entrySize]
		if r.entries++; r.entries > maxEntries {
			return bad("more than %d entries", maxEntries)
		}
		switch {
		case e[0] == 0xE5: // deleted
			long = nil
			continue
		case e[11] == attrLongName:
			long = append(longUnits(e), long...)
			continue
		case e[11]&attrVolumeID != 0 || e[0] == '.':
			long = nil
			continue
		}
		child := entryName(e, long)
		long = nil
		if err := checkName(child); err != nil {
			return bad("%v", err)
		}
		if err := r.entry(e, path.Join(name, child), depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entry(e []byte, full string, depth int) error {
	if _, twice := r.found[full]; twice {
		return bad("%q is there twice", full)
	}
	size := int64(binary.LittleEndian.Uint32(e[28:]))
	isFolder := e[11]&attrDirectory != 0
	if isFolder {
		size = -1
	}
	at, err := r.piece(int64(binary.LittleEndian.Uint16(e[26:])), size)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if isFolder {
		return r.folder(at, full, depth+1)
	}
	r.found[full] = at
	return nil
}

func longUnits(e []byte) (units []uint16) {
	for _, at := range unitOffsets {
		u := binary.LittleEndian.Uint16(e[at:])
		if u == 0 || u == 0xFFFF {
			break
		}
		units = append(units, u)
	}
	return units
}

func entryName(e []byte, long []uint16) string {
	if len(long) > 0 {
		return string(utf16.Decode(long))
	}
	base, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if ext != "" {
		base += "." + ext
	}
	return base
}
