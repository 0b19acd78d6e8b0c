package wasm

import (
	"encoding/binary"
	"slices"
)

// prepared returns a module that does the same, in the form that suits wazero.
//
// Sections called "name" go, which hold names for people to read. wazero reads
// them for stack traces, which nothing here shows, and refuses a module in which
// they are damaged or there twice; whereas to WebAssembly, what is in a custom
// section makes no module invalid
// (https://webassembly.github.io/spec/core/appendix/custom.html).
//
// Pieces of data that lie close together in memory become one, with zeros
// between them. Go's linker leaves out every eight zeros, and wazero takes
// longer over each of the 28,000 pieces that come of it than over what is in
// them. They stay in a module that counts its data beforehand, as it may use
// the pieces by number.
//
// A module with anything out of the ordinary is returned as it is, to be judged
// by wazero.
func prepared(module []byte) []byte {
	most := len(module) / 4 // bytes of zeros
	out := append(make([]byte, 0, len(module)), module[:min(headerSize, len(module))]...)
	read, counted := len(out), false
	for s := range sections(module) {
		read = s.end
		counted = counted || s.id == dataCountSection
		if s.id == customSection && isName(s.body) {
			continue
		}
		if s.id == dataSection && !counted {
			if data, ok := joinData(s.body, most); ok {
				out = append(binary.AppendUvarint(append(out, dataSection), uint64(len(data))), data...)
				counted = true // no module has two, and this one has had its zeros
				continue
			}
		}
		out = append(out, module[s.start:s.end]...)
	}
	if read < len(module) {
		return module
	}
	return out
}

// segment is data in one piece, and where in memory it begins.
type segment struct {
	from  uint64
	bytes []byte
}

func (s segment) to() uint64 { return s.from + uint64(len(s.bytes)) }

// Pieces at most so far apart become one: for more, a piece of its own is
// cheaper. Zeros go only where no earlier piece has been, and to know that, not
// too many are looked at.
const (
	maxGap      = 64
	maxSegments = 64
)

// joinData joins the pieces of a data section, which grows by most zeros. It is
// false where a piece is not of the plain kind: to be put in memory 0 at a
// constant address.
func joinData(body []byte, most int) ([]byte, bool) {
	r := reader{rest: body}
	count := r.number()
	if count < 2 {
		return nil, false
	}
	var segments []segment
	for range count {
		const active, constant, end = 0, 0x41, 0x0b
		plain := r.byte() == active && r.byte() == constant
		address := uint32(r.signed())
		plain = r.byte() == end && plain
		piece := segment{uint64(address), r.bytes()}
		if r.bad || !plain {
			return nil, false
		}
		zeros, fits := gap(segments, piece)
		if !fits || zeros > most {
			segments = append(segments, segment{piece.from, slices.Clone(piece.bytes)})
			continue
		}
		most -= zeros
		last := &segments[len(segments)-1]
		last.bytes = append(append(last.bytes, make([]byte, zeros)...), piece.bytes...)
	}
	if len(r.rest) > 0 {
		return nil, false
	}
	out := binary.AppendUvarint(make([]byte, 0, len(body)), uint64(len(segments)))
	for _, s := range segments {
		out = append(append(out, 0, 0x41), appendSigned(int32(uint32(s.from)))...)
		out = append(binary.AppendUvarint(append(out, 0x0b), uint64(len(s.bytes))), s.bytes...)
	}
	return out, true
}

// gap says how many zeros go between the last segment and a piece, if the piece may
// follow it.
func gap(segments []segment, piece segment) (zeros int, fits bool) {
	if len(segments) == 0 {
		return 0, false
	}
	last := segments[len(segments)-1]
	if piece.from < last.to() || piece.from-last.to() > maxGap {
		return 0, false
	}
	if piece.from == last.to() {
		return 0, true
	}
	if len(segments) > maxSegments || slices.ContainsFunc(segments[:len(segments)-1], func(s segment) bool { return s.from < piece.from && last.to() < s.to() }) {
		return 0, false
	}
	return int(piece.from - last.to()), true
}

func appendSigned(v int32) (b []byte) {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}
