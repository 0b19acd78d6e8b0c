// Package flash puts the image of a whole disk on a stick: it opens an image
// that Phase made, gives the copy identifiers and settings of its own, writes
// it to a target that nothing else uses, and reads it back.
package flash

import (
	"fmt"
	"io"

	"phase/appliance/base/envelope"
	"phase/appliance/base/ui"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
)

// Image is a disk as Phase lays it out, opened for reading.
type Image struct {
	Table  gpt.Table
	Files  map[string]fat.Extent // of the boot partition, from the start of the disk
	loader []byte
	from   io.ReaderAt
}

// OpenImage reads the tables of an image or a stick. It refuses what Phase did
// not write; the errors wrap gpt.ErrFormat and fat.ErrFormat.
func OpenImage(from io.ReaderAt) (*Image, error) {
	head := make([]byte, gpt.HeadSectors*gpt.SectorSize)
	if _, err := from.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("reading the partition table: %w", err)
	}
	table, loader, err := gpt.Decode(head)
	if err != nil {
		return nil, err
	}
	i := &Image{Table: table, loader: loader, from: from}
	boot, err := table.Partition(disk.Boot)
	if err != nil {
		return nil, err
	}
	if i.Files, err = fat.Read(i.Section(boot.Offset(), boot.Size()), boot.Size()); err != nil {
		return nil, fmt.Errorf("reading the boot partition: %w", err)
	}
	for name, extent := range i.Files {
		extent.Offset += boot.Offset()
		i.Files[name] = extent
	}
	return i, nil
}

// Section reads size bytes of the disk from an offset on.
func (i *Image) Section(offset, size int64) *io.SectionReader {
	return io.NewSectionReader(i.from, offset, size)
}

// File reads a file of the boot partition.
func (i *Image) File(name string) (*io.SectionReader, error) {
	at, ok := i.Files[name]
	if !ok {
		return nil, fmt.Errorf("the boot partition has no %s", name)
	}
	return i.Section(at.Offset, at.Size), nil
}

// ReadFile returns a small file of the boot partition, of at most
// envelope.MaxBytes.
func (i *Image) ReadFile(name string) ([]byte, error) {
	f, err := i.File(name)
	if err != nil {
		return nil, err
	}
	if f.Size() > envelope.MaxBytes {
		return nil, fmt.Errorf("%s has %s", name, ui.Bytes(f.Size()))
	}
	return io.ReadAll(f)
}
