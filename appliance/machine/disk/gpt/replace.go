package gpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Front is how many bytes at the front of a disk replacing its table reads: those
// of Encode, and as many behind them as a second table takes. No partition lies
// there on a disk whose table is replaced.
func (g Geometry) Front() int64 { return g.Head() + tableBytes }

// ReadEnds reads what Find and Replace take, from a disk whose offset 0 is r's.
func (g Geometry) ReadEnds(r io.ReaderAt) (front, back []byte, err error) {
	if g.Size < g.Front()+g.Tail() {
		return nil, nil, fmt.Errorf("a medium of %d bytes has no room for a partition table", g.Size)
	}
	front, back = make([]byte, g.Front()), make([]byte, g.Tail())
	if _, err := r.ReadAt(front, 0); err != nil {
		return nil, nil, fmt.Errorf("reading the partition table: %w", err)
	}
	if _, err := r.ReadAt(back, g.Size-g.Tail()); err != nil {
		return nil, nil, fmt.Errorf("reading the end of the medium: %w", err)
	}
	return front, back, nil
}

// Write is one write to a disk.
type Write struct {
	Offset int64 // bytes
	Data   []byte
}

// Find reads the table of a disk that is in use: the one at its front, also when
// the replacing of it was cut off; or, where that one is damaged, the copy at the
// end of the disk, if the MBR says that it is this disk's. front and back are from
// ReadEnds of that disk. The MBR is not compared otherwise: other tools write to
// it. The Size of the result is that which the table was made for, which may be
// smaller.
func Find(front, back []byte, g Geometry) (Table, error) {
	t, _, err := findFront(front, g)
	if err == nil && t.Size > g.Size {
		return Table{}, fmt.Errorf("the table is that of a disk of %d bytes, this one has %d", t.Size, g.Size)
	}
	if err == nil {
		return t, nil
	}
	if t, behind := findBack(back, g); behind == nil && binary.LittleEndian.Uint32(front[LoaderSize:]) == t.ID.Signature() {
		return t, nil
	}
	return Table{}, err
}

// findFront reads the table at the front. moved says that it lies behind where
// Encode puts it.
func findFront(front []byte, g Geometry) (t Table, moved bool, err error) {
	if int64(len(front)) != g.Front() {
		return Table{}, false, fmt.Errorf("%w: too short", ErrFormat)
	}
	// Without the first sector, which flashing clears first so that nothing boots
	// a disk that is half written.
	if t, _, err = decode(front[:g.Head()], g.Sector, g.Sector); err == nil {
		return t, false, nil
	}
	header, table := front[g.Sector:2*g.Sector], front[g.Head():]
	if binary.LittleEndian.Uint64(header[atTable:]) != g.sector(g.Head()) {
		return Table{}, false, err
	}
	if t, err = parse(header, table, g.Sector, binary.LittleEndian.Uint64(header[atOther:])); err != nil {
		return Table{}, false, err
	}
	again, err := t.moved()
	if err != nil {
		return Table{}, false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.Equal(again.table, table) || !bytes.Equal(again.header, header) {
		return Table{}, false, fmt.Errorf("%w: damaged, or changed by another tool", ErrFormat)
	}
	return t, true, nil
}

func findBack(back []byte, g Geometry) (Table, error) {
	if int64(len(back)) != g.Tail() || g.Size < g.Front()+g.Tail() {
		return Table{}, fmt.Errorf("%w: too short", ErrFormat)
	}
	t, err := parse(back[tableBytes:], back[:tableBytes], g.Sector, g.sector(g.Size)-1)
	if err != nil {
		return Table{}, err
	}
	_, again, err := t.Encode(nil)
	if err != nil {
		return Table{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.Equal(again, back) {
		return Table{}, fmt.Errorf("%w: damaged, or changed by another tool", ErrFormat)
	}
	return t, nil
}

type headerAndTable struct{ header, table []byte }

// moved renders header and table with the table behind where Encode puts it.
func (t Table) moved() (m headerAndTable, err error) {
	if err := t.check(); err != nil {
		return m, err
	}
	for _, p := range t.Partitions {
		if p.Start < t.Front() {
			return m, fmt.Errorf("there is no room for a second table before partition %d", p.Number)
		}
	}
	if m.table, err = t.entries(); err != nil {
		return m, err
	}
	m.header = t.header(t.Sector, t.Size-t.Sector, t.Head(), t.Front(), m.table)
	return m, nil
}

// Replace says what to write so that a disk has table t, which is for a disk of
// its size: nothing where it has it already. front and back are as for Find, and
// Find accepts them.
//
// The writes are in order, and each is on the medium before the next begins.
// Then there is a valid table at every moment, whether a write is cut off before,
// within or after a sector: until the front has its new table, it is never
// without a valid one, since the new one is written beside the old one and a
// single sector, the header, changes from one to the other; and before that
// happens the copy at the end is the new one. Cut off anywhere, Find finds the
// old or the new table, and Replace says what is left to do. The MBR stays as it
// is: what it holds does not depend on the size of a disk.
func Replace(front, back []byte, t Table) ([]Write, error) {
	head, tail, err := t.Encode(nil)
	if err != nil {
		return nil, err
	}
	spare, err := t.moved()
	if err != nil {
		return nil, err
	}
	end, sector := t.Size-t.Tail(), t.Sector
	var atBack, atFront []Write
	if !bytes.Equal(back, tail) {
		atBack = []Write{{end, tail[:tableBytes]}, {end + tableBytes, tail[tableBytes:]}}
	}
	_, moved, broken := findFront(front, t.Geometry)
	if bytes.Equal(front[sector:t.Head()], head[sector:]) {
		return atBack, nil
	}
	if broken == nil && !moved {
		atFront = []Write{{t.Head(), spare.table}, {sector, spare.header}}
	}
	atFront = append(atFront, Write{2 * sector, head[2*sector:]}, Write{sector, head[sector : 2*sector]})
	if broken != nil {
		return append(atFront, atBack...), nil // the copy at the end is all there is
	}
	return append(atBack, atFront...), nil
}
