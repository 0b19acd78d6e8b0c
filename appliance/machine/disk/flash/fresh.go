package flash

import (
	"errors"
	"fmt"
	"io"

	"phase/appliance/machine/disk"
)

// Fresh reads the disk that a node runs from as the image that it once was: the
// boot and the root partition as they are, which nobody writes, settings
// included, and in place of the persistent one, however large it has become, the
// empty file system of a template, of disk.PermBytes bytes.
func Fresh(from, template io.ReaderAt) (io.ReaderAt, error) {
	image, err := OpenImage(from)
	if err != nil {
		return nil, err
	}
	last := len(image.Table.Partitions) - 1
	perm := &image.Table.Partitions[last]
	if perm.Number != disk.Perm || perm.Size < disk.PermBytes {
		return nil, errors.New("its last partition is not the persistent one of a node")
	}
	perm.Size = disk.PermBytes
	image.Table = disk.Shrink(image.Table)
	head, tail, err := image.Table.Encode(image.loader)
	if err != nil {
		return nil, fmt.Errorf("laying out its partition table: %w", err)
	}
	end := image.Table.Size - image.Table.Tail()
	return &fresh{from: from, perm: io.NewSectionReader(template, 0, disk.PermBytes), start: perm.Start, size: image.Table.Size,
		ends: []patch{{0, head}, {end, tail}}}, nil
}

// fresh is a disk with another end.
type fresh struct {
	from        io.ReaderAt
	perm        *io.SectionReader
	start, size int64
	ends        []patch // over all else
}

func (f *fresh) ReadAt(b []byte, at int64) (n int, err error) {
	if at < 0 || at >= f.size {
		return 0, io.EOF
	}
	short := at+int64(len(b)) > f.size
	b = b[:min(int64(len(b)), f.size-at)]
	before := int(min(max(f.start-at, 0), int64(len(b))))
	if before > 0 {
		if n, err := f.from.ReadAt(b[:before], at); n < before {
			return n, err
		}
	}
	if rest := b[before:]; len(rest) > 0 {
		clear(rest)
		// What follows the template is empty, up to the table at the end.
		if _, err := f.perm.ReadAt(rest, at+int64(before)-f.start); err != nil && err != io.EOF {
			return before, err
		}
	}
	for _, p := range f.ends {
		p.over(b, at)
	}
	if short {
		return len(b), io.EOF
	}
	return len(b), nil
}
