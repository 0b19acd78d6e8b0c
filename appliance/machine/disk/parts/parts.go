// Package parts reads a disk, or a part of one, that is nowhere written: bytes
// of several sources, each at its place, and zeros between them.
package parts

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// Part is Size bytes of From, from its first on, that lie at an offset of Start
// bytes.
type Part struct {
	Start, Size int64
	From        io.ReaderAt
}

// End is the offset behind the part, in bytes.
func (p Part) End() int64 { return p.Start + p.Size }

// Image is a whole of some bytes, made of parts.
type Image struct {
	size  int64
	parts []Part
}

// New puts parts together to an image of size bytes. It refuses parts that lie
// outside of it or over each other.
func New(size int64, list ...Part) (Image, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(p Part) bool { return p.Size == 0 })
	slices.SortFunc(list, func(a, b Part) int { return cmp.Compare(a.Start, b.Start) })
	end := int64(0)
	for _, p := range list {
		if p.Size < 0 || p.Start < end || p.Size > size-p.Start {
			return Image{}, fmt.Errorf("a part of %d bytes at %d lies over another one, or outside of %d bytes", p.Size, p.Start, size)
		}
		end = p.End()
	}
	return Image{size, list}, nil
}

// Size is the number of bytes.
func (i Image) Size() int64 { return i.size }

// Parts are those of the image in the order in which they lie, each moved on by
// some bytes: for an image that is a part of a larger one.
func (i Image) Parts(by int64) []Part {
	moved := slices.Clone(i.parts)
	for n := range moved {
		moved[n].Start += by
	}
	return moved
}

// ReadAt reads as io.ReaderAt does. A source that ends before its part does is
// an error, io.ErrUnexpectedEOF.
func (i Image) ReadAt(b []byte, at int64) (int, error) {
	if at < 0 || at >= i.size {
		return 0, io.EOF
	}
	short := int64(len(b)) > i.size-at
	if short {
		b = b[:i.size-at]
	}
	first, _ := slices.BinarySearchFunc(i.parts, at, func(p Part, at int64) int {
		if p.End() <= at {
			return -1
		}
		return 1
	})
	end := at + int64(len(b))
	done := at
	for _, p := range i.parts[first:] {
		from, to := max(p.Start, done), min(p.End(), end)
		if from >= to {
			break
		}
		clear(b[done-at : from-at])
		n, err := p.From.ReadAt(b[from-at:to-at], from-p.Start)
		if int64(n) < to-from {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return int(from-at) + n, err
		}
		done = to
	}
	clear(b[done-at:])
	if short {
		return len(b), io.EOF
	}
	return len(b), nil
}
