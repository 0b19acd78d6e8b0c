// Package flash puts the image of a whole disk on a stick: it opens an image
// that Phase made, gives the copy identifiers and settings of its own, writes
// it to a target that nothing else uses, and reads it back.
package flash

import (
	"fmt"
	"io"
	"strings"

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
	table, loader, err := gpt.Read(from)
	if err != nil {
		return nil, err
	}
	i := &Image{Table: table, loader: loader, from: from}
	boot, err := table.Partition(disk.Boot)
	if err != nil {
		return nil, err
	}
	files, err := fat.Read(i.Section(boot.Start, boot.Size), boot.Size)
	if err != nil {
		return nil, fmt.Errorf("reading the boot partition: %w", err)
	}
	i.place(files, boot)
	return i, nil
}

// place notes where the files of the boot partition lie on the disk.
func (i *Image) place(files map[string]fat.Extent, boot gpt.Partition) {
	i.Files = map[string]fat.Extent{}
	for name, extent := range files {
		i.Files[name] = fat.Extent{Offset: extent.Offset + boot.Start, Size: extent.Size}
	}
}

// maxBoot is how large a boot partition may be that is laid anew in memory: four
// times that of the largest image.
const maxBoot = 256 << 20

// withSectors is the image for disks with sectors of another size: the partitions
// lie where they lay, the boot partition has its file system counted in the new
// sectors, as firmware and kernel want it, and there is no boot loader for BIOS,
// which reads no such disk.
func (i *Image) withSectors(sector int64) (*Image, error) {
	if i.Table.Sector == sector {
		return i, nil
	}
	if i.Table.Sector != gpt.Sector512 {
		return nil, fmt.Errorf("the image was made for disks with sectors of %d bytes, this one's have %d: take the image as it was built, not the copy of a flashed disk", i.Table.Sector, sector)
	}
	boot, err := i.Table.Partition(disk.Boot)
	if err != nil {
		return nil, err
	}
	if boot.Size > maxBoot {
		return nil, fmt.Errorf("the boot partition has %s, and at most %s can be laid anew", ui.Bytes(boot.Size), ui.Bytes(maxBoot))
	}
	laid := make(memory, boot.Size)
	files, err := fat.Convert(laid, i.Section(boot.Start, boot.Size), boot.Size, sector)
	if err != nil {
		return nil, fmt.Errorf("laying the boot partition for sectors of %d bytes: %w", sector, err)
	}
	to := &Image{Table: i.Table, from: replaced{i.from, patch{boot.Start, laid}}}
	to.Table.Geometry = gpt.Geometry{Sector: sector, Size: i.Table.Size}
	to.place(files, boot)
	return to, nil
}

// memory is a part of a disk that is made before it is written.
type memory []byte

func (m memory) WriteAt(b []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(b)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[at:], b), nil
}

// replaced reads as another disk, but for a part.
type replaced struct {
	io.ReaderAt
	part patch
}

func (r replaced) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, at)
	r.part.over(b, at)
	return n, err
}

// rootNames are the files of the boot partition that name the root partition.
func (i *Image) rootNames() []string {
	names := []string{disk.CmdlineFile, disk.EntryFile}
	for name := range i.Files {
		if strings.HasPrefix(name, disk.EntryFolder) && name != disk.EntryFile {
			names = append(names, name)
		}
	}
	return names
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
