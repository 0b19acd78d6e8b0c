package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"phase/appliance/base/ui"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
)

// Plan is an image on its way to a disk of some size, with identifiers of
// its own: two sticks with one identifier in one machine would be one root.
type Plan struct {
	image   *Image
	table   gpt.Table
	patches []patch // in place of what the image holds, in no order
	Length  int64   // bytes of the image that are copied
	blank   int64   // bytes at the front that are taken away while it is written
}

type patch struct {
	offset int64
	data   []byte
}

// Prepare works out what goes onto a disk of that many bytes. The persistent
// partition gets the rest of it. conf replaces the settings unless it is nil.
func Prepare(from io.ReaderAt, size int64, id gpt.ID, conf []byte) (*Plan, error) {
	f, last, err := prepare(from, size)
	if err != nil {
		return nil, err
	}
	f.table.ID = id
	f.Length, f.blank = (last.Last+1)*gpt.SectorSize, gpt.HeadSectors*gpt.SectorSize
	f.fill(last)
	return f, f.rename(conf)
}

// PrepareKeeping is Prepare for a disk that holds an earlier image: its
// persistent partition stays as it is, and so do its identifiers.
func PrepareKeeping(from, target io.ReaderAt, size int64, conf []byte) (*Plan, error) {
	f, last, err := prepare(from, size)
	if err != nil {
		return nil, err
	}
	head := make([]byte, gpt.HeadSectors*gpt.SectorSize)
	if _, err := target.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("reading its partition table: %w", err)
	}
	before, err := gpt.DecodeTable(head)
	if err != nil {
		return nil, fmt.Errorf("there is nothing to keep, leave out --keep: %w", err)
	}
	old := slices.IndexFunc(before.Partitions, func(p gpt.Partition) bool { return p.Number == disk.Perm })
	if old < 0 || before.Partitions[old].First != last.First || before.Partitions[old].Last < last.Last {
		return nil, errors.New("its persistent partition lies elsewhere than this image's and cannot be kept; save what is on it and leave out --keep")
	}
	f.table.ID = before.ID
	last.Last = before.Partitions[old].Last
	// The tables stay until the new ones take their place, so that it can be
	// done again after half a write. Without its first sector nothing boots.
	f.Length, f.blank = last.Offset(), gpt.SectorSize
	f.fill(last)
	return f, f.rename(conf)
}

// prepare opens the image for a disk of some size; last is the persistent
// partition of the new table.
func prepare(from io.ReaderAt, size int64) (f *Plan, last *gpt.Partition, err error) {
	image, err := OpenImage(from)
	if err != nil {
		return nil, nil, err
	}
	f = &Plan{image: image, table: image.Table}
	if needed := image.Table.Sectors * gpt.SectorSize; size < needed {
		return nil, nil, fmt.Errorf("the image needs %s, and there are %s", ui.Bytes(needed), ui.Bytes(size))
	}
	f.table.Sectors = size / gpt.SectorSize
	f.table.Partitions = slices.Clone(image.Table.Partitions)
	last = &f.table.Partitions[len(f.table.Partitions)-1]
	if last.Number != disk.Perm {
		return nil, nil, errors.New("the last partition of the image is not the persistent one")
	}
	return f, last, nil
}

// fill gives a partition the rest of the disk. Partitions are aligned to whole
// mebibytes, so its end is too.
func (f *Plan) fill(last *gpt.Partition) {
	end := (f.table.Sectors - gpt.TailSectors) * gpt.SectorSize >> 20 << 20
	last.Last = max(last.Last, end/gpt.SectorSize-1)
}

// rename collects what changes on the boot partition. An identifier is as long
// as another, so everything stays where it is.
func (f *Plan) rename(conf []byte) error {
	was, is := f.image.Table.PartitionID(disk.Root).String(), f.table.PartitionID(disk.Root).String()
	for _, name := range []string{disk.CmdlineFile, disk.EntryFile} {
		data, err := f.image.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.Count(data, []byte("PARTUUID="+was)) != 1 {
			return fmt.Errorf("%s does not name the root partition", name)
		}
		f.patches = append(f.patches, patch{f.image.Files[name].Offset, bytes.Replace(data, []byte(was), []byte(is), 1)})
	}
	if conf != nil {
		at, ok := f.image.Files[disk.ConfFile]
		if !ok || at.Size != int64(len(conf)) {
			return fmt.Errorf("the image has no %s of %d bytes", disk.ConfFile, len(conf))
		}
		f.patches = append(f.patches, patch{at.Offset, conf})
	}
	boot, err := f.image.Table.Partition(disk.Boot)
	if err != nil {
		return err
	}
	serial := disk.Serial(f.table.ID)
	f.patches = append(f.patches, patch{boot.Offset() + fat.SerialOffset, serial[:]})
	head, tail, err := f.table.Encode(f.image.loader)
	f.patches = append(f.patches, patch{0, head}, patch{(f.table.Sectors - gpt.TailSectors) * gpt.SectorSize, tail})
	return err
}

// ReadAt reads the disk as it will be, up to the end of what is copied.
func (f *Plan) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.image.from.ReadAt(p, at)
	for _, patch := range f.patches {
		from, to := max(patch.offset, at), min(patch.offset+int64(len(patch.data)), at+int64(len(p)))
		if from < to {
			copy(p[from-at:to-at], patch.data[from-patch.offset:])
		}
	}
	return n, err
}

const flashBlock = 1 << 20

// Write writes the disk, its tables last: a disk that was pulled out half-way
// is none, rather than one that looks whole. It returns the hash of the copied
// part, for Verify.
func (f *Plan) Write(ctx context.Context, to io.WriterAt, progress func(n int64)) (sum [32]byte, err error) {
	empty := make([]byte, f.blank)
	if _, err := to.WriteAt(empty, 0); err != nil {
		return sum, err
	}
	hash, first := sha256.New(), []byte(nil)
	for at := int64(0); at < f.Length; at += flashBlock {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		block := make([]byte, min(flashBlock, f.Length-at))
		if _, err := f.ReadAt(block, at); err != nil {
			return sum, fmt.Errorf("reading the image: %w", err)
		}
		hash.Write(block)
		if at == 0 {
			first = block
		} else if _, err := to.WriteAt(block, at); err != nil {
			return sum, err
		}
		progress(int64(len(block)))
	}
	for _, p := range f.patches {
		if p.offset >= f.Length {
			if _, err := to.WriteAt(p.data, p.offset); err != nil {
				return sum, err
			}
		}
	}
	_, err = to.WriteAt(first, 0)
	return [32]byte(hash.Sum(nil)), err
}

// Verify reads back what Write wrote.
func (f *Plan) Verify(ctx context.Context, from io.ReaderAt, sum [32]byte, progress func(n int64)) error {
	hash, block := sha256.New(), make([]byte, flashBlock)
	for at := int64(0); at < f.Length; at += flashBlock {
		if err := ctx.Err(); err != nil {
			return err
		}
		block = block[:min(flashBlock, f.Length-at)]
		if _, err := from.ReadAt(block, at); err != nil {
			return fmt.Errorf("reading back: %w", err)
		}
		hash.Write(block)
		progress(int64(len(block)))
	}
	if [32]byte(hash.Sum(nil)) != sum {
		return errors.New("what was read back is not what was written: the disk is broken, or not the size it says")
	}
	for _, p := range f.patches {
		if p.offset < f.Length {
			continue
		}
		data := make([]byte, len(p.data))
		if _, err := from.ReadAt(data, p.offset); err != nil || !bytes.Equal(data, p.data) {
			return errors.New("the end of the disk does not hold what was written there: it is not the size it says")
		}
	}
	return nil
}

// ID is the identifier of the disk as it will be.
func (f *Plan) ID() gpt.ID { return f.table.ID }
