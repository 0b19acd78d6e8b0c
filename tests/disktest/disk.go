// Package disktest is a disk in memory whose power can be cut: between two
// sectors, in the middle of one, or so that only some sectors of the write that
// was under way are on it.
package disktest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
)

// SectorSize is in bytes.
const SectorSize = 512

// Sector is what one sector holds.
type Sector [SectorSize]byte

// torn is how many bytes of a torn sector are new: fewer than a header has.
const torn = 60

// ErrCut is the error of writing when the power is cut.
var ErrCut = errors.New("the power was cut")

// Disk holds only the sectors that are not zero, so it may be of any size.
type Disk struct {
	Size    int64 // bytes
	Sectors map[int64]Sector

	cut    *Cut
	before map[int64]Sector // what was there at the last Sync, of the sectors written since
}

// Cut is when the power is cut: after so many sectors were written.
type Cut struct {
	Left int        // sectors
	Torn bool       // a part of the next sector is written too
	Some *rand.Rand // nil, or chooses, of all that was written since the last Sync and the write under way, what is on the disk
}

// New is a disk without power cuts, of a size that is cut to whole sectors.
func New(size int64) *Disk {
	return &Disk{Size: size / SectorSize * SectorSize, Sectors: map[int64]Sector{}, before: map[int64]Sector{}}
}

// Again is the disk at the next start, with a cut to come; nil: none.
func (d *Disk) Again(cut *Cut) *Disk {
	return &Disk{Size: d.Size, Sectors: maps.Clone(d.Sectors), cut: cut, before: map[int64]Sector{}}
}

// ReadAt reads whole sectors.
func (d *Disk) ReadAt(b []byte, at int64) (int, error) {
	if at%SectorSize != 0 || len(b)%SectorSize != 0 || at+int64(len(b)) > d.Size {
		return 0, io.ErrUnexpectedEOF
	}
	for n := 0; n < len(b); n += SectorSize {
		one := d.Sectors[(at+int64(n))/SectorSize]
		copy(b[n:], one[:])
	}
	return len(b), nil
}

// WriteAt writes whole sectors, as many as there is power for.
func (d *Disk) WriteAt(b []byte, at int64) (int, error) {
	if at%SectorSize != 0 || len(b)%SectorSize != 0 || at < 0 || at+int64(len(b)) > d.Size {
		return 0, io.ErrShortWrite
	}
	for n := 0; n < len(b); n += SectorSize {
		number, is := (at+int64(n))/SectorSize, Sector(b[n:n+SectorSize])
		if d.cut == nil {
			d.put(number, is)
			continue
		}
		if d.cut.Left == 0 && d.cut.Some == nil {
			if d.cut.Torn {
				was := d.Sectors[number]
				copy(was[:torn], is[:])
				d.put(number, was)
			}
			return n, ErrCut
		}
		if _, again := d.before[number]; !again {
			d.before[number] = d.Sectors[number]
		}
		d.put(number, is)
		d.cut.Left--
	}
	if d.cut != nil && d.cut.Left < 0 {
		d.lose()
		return 0, ErrCut
	}
	return len(b), nil
}

// lose takes back some of what was written since the last Sync.
func (d *Disk) lose() {
	for _, number := range slices.Sorted(maps.Keys(d.before)) {
		if d.cut.Some.IntN(2) == 0 {
			d.put(number, d.before[number])
		}
	}
}

func (d *Disk) put(number int64, s Sector) {
	if s == (Sector{}) {
		delete(d.Sectors, number)
	} else {
		d.Sectors[number] = s
	}
}

// Sync returns when all that was written is on the disk.
func (d *Disk) Sync() error {
	clear(d.before)
	return nil
}

// WriteFile writes the disk to a file, with holes where it holds nothing.
func (d *Disk) WriteFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(d.Size)
	for number, one := range d.Sectors {
		if err == nil {
			_, err = f.WriteAt(one[:], number*SectorSize)
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the disk to %s: %w", path, err)
	}
	return nil
}
