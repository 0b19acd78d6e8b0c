package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"phase/appliance/base/ui"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
)

// Plan is what goes onto a disk of some size: an image, with identifiers of its
// own, since two sticks with one identifier in one machine would be one root.
type Plan struct {
	// Length is how many bytes of the image are copied.
	Length int64

	image   *Image
	table   gpt.Table
	patches []patch // in place of what the image holds, in no order
	blank   int64   // bytes at the front that are zero while it is written
}

type patch struct {
	offset int64
	data   []byte
}

// over puts the patch over what was read from an offset on.
func (p patch) over(b []byte, at int64) {
	from, to := max(p.offset, at), min(p.offset+int64(len(p.data)), at+int64(len(b)))
	if from < to {
		copy(b[from-at:to-at], p.data[from-p.offset:])
	}
}

// Prepare works out what goes onto a disk under the disk id, in sectors of the
// size that the disk has. The persistent partition gets the rest of it. conf, of
// disk.ConfBytes bytes, replaces the settings unless it is nil.
func Prepare(from io.ReaderAt, to gpt.Geometry, id gpt.ID, conf []byte) (*Plan, error) {
	p, perm, err := prepare(from, to)
	if err != nil {
		return nil, err
	}
	p.table.ID = id
	p.Length, p.blank = perm.End(), to.Head()
	return p, p.change(conf)
}

// PrepareKeeping is Prepare for a disk that holds an earlier image: its
// persistent partition stays as it is, and so do its identifiers.
func PrepareKeeping(from, target io.ReaderAt, to gpt.Geometry, conf []byte) (*Plan, error) {
	p, perm, err := prepare(from, to)
	if err != nil {
		return nil, err
	}
	front, back, err := to.ReadEnds(target)
	if err != nil {
		return nil, err
	}
	before, err := gpt.Find(front, back, to)
	if err != nil {
		return nil, fmt.Errorf("there is nothing to keep, leave out --keep: %w", err)
	}
	old, err := before.Partition(disk.Perm)
	if err != nil || old.Start != perm.Start || old.Size < perm.Size {
		return nil, errors.New("its persistent partition lies elsewhere than this image's and cannot be kept; save what is on it and leave out --keep")
	}
	p.table.ID = before.ID
	last := &p.table.Partitions[len(p.table.Partitions)-1]
	last.Size = max(last.Size, old.Size)
	// The tables stay until the new ones take their place, so that it can be
	// done again after half a write. Without its first sector nothing boots.
	p.Length, p.blank = perm.Start, to.Sector
	return p, p.change(conf)
}

// prepare opens the image for a disk, and returns the image's persistent
// partition.
func prepare(from io.ReaderAt, to gpt.Geometry) (p *Plan, perm gpt.Partition, err error) {
	image, err := OpenImage(from)
	if err != nil {
		return nil, perm, err
	}
	if needed := image.Table.Size; to.Size < needed {
		return nil, perm, fmt.Errorf("the image needs %s, and there are %s: take a larger disk", ui.Bytes(needed), ui.Bytes(to.Size))
	}
	if image, err = image.withSectors(to.Sector); err != nil {
		return nil, perm, err
	}
	if perm = image.Table.Partitions[len(image.Table.Partitions)-1]; perm.Number != disk.Perm {
		return nil, perm, errors.New("the last partition of the image is not the persistent one")
	}
	return &Plan{image: image, table: disk.FillDisk(image.Table, to)}, perm, nil
}

// ID is the identifier of the disk as it will be.
func (p *Plan) ID() gpt.ID { return p.table.ID }

// change collects what differs from the image. An identifier is as long as
// another, so everything stays where it is.
func (p *Plan) change(conf []byte) error {
	was, is := p.image.Table.PartitionID(disk.Root).String(), p.table.PartitionID(disk.Root).String()
	for _, name := range p.image.rootNames() {
		data, err := p.image.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.Count(data, []byte("PARTUUID="+was)) != 1 {
			return fmt.Errorf("%s does not name the root partition", name)
		}
		p.patches = append(p.patches, patch{p.image.Files[name].Offset, bytes.Replace(data, []byte(was), []byte(is), 1)})
	}
	if conf != nil {
		at, ok := p.image.Files[disk.ConfFile]
		if !ok || at.Size != int64(len(conf)) {
			return fmt.Errorf("the image has no %s of %d bytes", disk.ConfFile, len(conf))
		}
		p.patches = append(p.patches, patch{at.Offset, conf})
	}
	boot, err := p.image.Table.Partition(disk.Boot)
	if err != nil {
		return err
	}
	serial := disk.Serial(p.table.ID)
	head, tail, err := p.table.Encode(p.image.loader)
	p.patches = append(p.patches, patch{boot.Start + fat.SerialOffset, serial[:]},
		patch{0, head}, patch{p.table.Size - p.table.Tail(), tail})
	return err
}

// ReadAt reads the disk as it will be, up to the end of what is copied.
func (p *Plan) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.image.from.ReadAt(b, at)
	for _, patch := range p.patches {
		patch.over(b, at)
	}
	return n, err
}

// Write writes the disk, its tables last: a disk that was pulled out half-way
// is none, rather than one that looks whole. It returns the hash of the copied
// part, for Verify. progress gets the number of bytes after each write.
func (p *Plan) Write(ctx context.Context, to io.WriterAt, progress func(n int64)) (sum [32]byte, err error) {
	if _, err := to.WriteAt(make([]byte, p.blank), 0); err != nil {
		return sum, err
	}
	var first []byte
	sum, err = p.blocks(ctx, p, "the image", progress, func(block []byte, at int64) error {
		if at == 0 {
			first = bytes.Clone(block)
			return nil
		}
		_, err := to.WriteAt(block, at)
		return err
	})
	if err != nil {
		return sum, err
	}
	for _, patch := range p.patches {
		if patch.offset >= p.Length {
			if _, err := to.WriteAt(patch.data, patch.offset); err != nil {
				return sum, err
			}
		}
	}
	_, err = to.WriteAt(first, 0)
	return sum, err
}

// Verify reads back what Write wrote.
func (p *Plan) Verify(ctx context.Context, from io.ReaderAt, sum [32]byte, progress func(n int64)) error {
	is, err := p.blocks(ctx, from, "back", progress, func([]byte, int64) error { return nil })
	if err != nil {
		return err
	}
	if is != sum {
		return errors.New("what was read back is not what was written: the disk is broken, or not the size it says")
	}
	for _, patch := range p.patches {
		if patch.offset < p.Length {
			continue
		}
		data := make([]byte, len(patch.data))
		if _, err := from.ReadAt(data, patch.offset); err != nil || !bytes.Equal(data, patch.data) {
			return errors.New("the end of the disk does not hold what was written there: it is not the size it says")
		}
	}
	return nil
}

// blocks reads the copied part, a mebibyte at a time, and hashes it. what names
// it in errors; a block is valid only during the call of do.
func (p *Plan) blocks(ctx context.Context, from io.ReaderAt, what string, progress func(n int64), do func(block []byte, at int64) error) (sum [32]byte, err error) {
	hash, block := sha256.New(), make([]byte, 1<<20)
	for at := int64(0); at < p.Length; at += int64(len(block)) {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		block = block[:min(int64(len(block)), p.Length-at)]
		if _, err := from.ReadAt(block, at); err != nil {
			return sum, fmt.Errorf("reading %s: %w", what, err)
		}
		hash.Write(block)
		if err := do(block, at); err != nil {
			return sum, err
		}
		progress(int64(len(block)))
	}
	return [32]byte(hash.Sum(nil)), nil
}
