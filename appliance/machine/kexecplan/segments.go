// Package kexecplan lays out what kexec_load(2) is given: where in memory the
// next kernel, its initrd and its parameters lie, and where it is entered. It only
// computes; package linux reads the machine and makes the call.
//
// kexec_file_load(2) would do this in the kernel. It copies everything once
// more, and on x86_64 hashes all of it twice, before the jump and behind it, in
// code for machines without any instruction to help: seconds where a processor
// is slow, to find damage that no store of a running machine has. The bytes are
// verified where they lie, sealed, before they come here.
package kexecplan

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// page is the unit that kexec_load places, in bytes, on both arches.
const page = 4096

// Range is physical memory from Start up to, and not including, End.
type Range struct{ Start, End uint64 }

func (r Range) size() uint64          { return r.End - r.Start }
func (r Range) overlaps(o Range) bool { return r.Start < o.End && o.Start < r.End }

// Segment is one piece of the next kernel's memory: Data, then zeros up to Size
// bytes. At and Size are multiples of 4096.
type Segment struct {
	Data []byte
	At   uint64 // physical address
	Size uint64
}

// Plan is all that kexec_load takes. Its segments do not overlap.
type Plan struct {
	Segments []Segment
	Entry    uint64 // physical address where the next kernel is entered
}

// space is the memory that may still be given away.
type space struct{ free []Range }

// newSpace takes the machine's RAM and what of it must be left alone. The first
// mebibyte is never used: firmware and boot loaders keep things there that are on
// no map.
func newSpace(ram, reserved []Range) *space {
	s := &space{free: slices.Clone(ram)}
	s.take(Range{0, 1 << 20})
	for _, r := range reserved {
		s.take(r)
	}
	slices.SortFunc(s.free, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	return s
}

// take removes r from what is free.
func (s *space) take(r Range) {
	var left []Range
	for _, f := range s.free {
		if !f.overlaps(r) {
			left = append(left, f)
			continue
		}
		if f.Start < r.Start {
			left = append(left, Range{f.Start, r.Start})
		}
		if r.End < f.End {
			left = append(left, Range{r.End, f.End})
		}
	}
	s.free = left
}

// low gives the lowest place from the address from on that begins at offset
// beyond a multiple of align.
func (s *space) low(size, from, align, offset uint64) (uint64, bool) {
	for _, f := range s.free {
		at := max(f.Start, from)
		if at < offset {
			at = offset
		}
		at = offset + roundUp(at-offset, align)
		if at >= f.End || f.End-at < size {
			continue
		}
		s.take(Range{at, at + size})
		return at, true
	}
	return 0, false
}

// random gives one of all places from the address from on that begin at a multiple
// of align, the one that the random number says.
func (s *space) random(size, from, align, random uint64) (uint64, bool) {
	var slots uint64
	for _, f := range s.free {
		slots += f.slots(size, from, align)
	}
	if slots == 0 {
		return 0, false
	}
	nth := random % slots
	for _, f := range s.free {
		if n := f.slots(size, from, align); nth >= n {
			nth -= n
			continue
		}
		at := roundUp(max(f.Start, from), align) + nth*align
		s.take(Range{at, at + size})
		return at, true
	}
	return 0, false
}

// slots counts the places for size bytes in a range.
func (r Range) slots(size, from, align uint64) uint64 {
	first := roundUp(max(r.Start, from), align)
	if first >= r.End || r.End-first < size {
		return 0
	}
	return (r.End-first-size)/align + 1
}

// high gives the highest place that ends at below or before.
func (s *space) high(size, below uint64) (uint64, bool) {
	for _, f := range slices.Backward(s.free) {
		end := min(f.End, below) &^ (page - 1)
		if end <= f.Start || end-f.Start < size || end-size < roundUp(f.Start, page) {
			continue
		}
		s.take(Range{end - size, end})
		return end - size, true
	}
	return 0, false
}

// roundUp rounds n up to a multiple of align, a power of two.
func roundUp(n, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }

// KernelMemory reads from a kernel, not compressed, how many bytes of memory it
// begins in.
func KernelMemory(kernel io.ReaderAt) (int64, error) {
	head := make([]byte, zeroPage)
	if _, err := kernel.ReadAt(head, 0); err != nil {
		return 0, fmt.Errorf("reading the kernel's header: %w", err)
	}
	le := binary.LittleEndian
	switch {
	case bytes.Equal(head[atARM64Magic:][:4], arm64Magic):
		return int64(min(le.Uint64(head[atImageSize:]), maxKernel)), nil
	case bytes.Equal(head[atMagic:][:4], x86Magic):
		return int64(le.Uint32(head[atInitSize:])), nil
	}
	return 0, fmt.Errorf("the kernel has no header that is known")
}

// maxKernel is the most memory a kernel may begin in, many times today's.
const maxKernel = 1 << 30

func noRoom(what string, size uint64) error {
	return fmt.Errorf("the memory of this machine has no place in one piece for %s of %d KiB", what, size>>10)
}
