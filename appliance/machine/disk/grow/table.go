package grow

import (
	"fmt"
	"io"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
)

// Medium is a whole disk. Sync returns when all that was written is on it.
type Medium interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Table makes the partition table of a medium one for all of it: the last
// partition gets the rest, and the copy of the table is at its end, over whatever
// lies there. It returns the table that the medium has then. accept
// refuses a table that is not to be touched.
//
// A cut leaves the medium with the old table or the new one, and Table does the
// rest when it is called again (see gpt.Replace).
func Table(m Medium, g gpt.Geometry, accept func(gpt.Table) error) (gpt.Table, error) {
	front, back, err := g.ReadEnds(m)
	if err != nil {
		return gpt.Table{}, err
	}
	was, err := gpt.Find(front, back, g)
	if err == nil {
		err = accept(was)
	}
	if err != nil {
		return gpt.Table{}, err
	}
	is := disk.FillDisk(was, g)
	writes, err := gpt.Replace(front, back, is)
	if err != nil {
		return gpt.Table{}, err
	}
	for _, w := range writes {
		if _, err := m.WriteAt(w.Data, w.Offset); err != nil {
			return gpt.Table{}, fmt.Errorf("writing the partition table: %w", err)
		}
		if err := m.Sync(); err != nil {
			return gpt.Table{}, fmt.Errorf("writing the partition table: %w", err)
		}
	}
	return is, nil
}
