package wasm

import (
	"encoding/binary"
	"math"
	"slices"
)

// Sections of a module.
const (
	dataSection      = 11
	dataCountSection = 12
)

// joined returns a module that does the same and begins faster: pieces of data
// that lie close together in memory become one, with zeros between them. Go's
// linker leaves out every eight zeros, and wazero takes longer over each of the
// 28,000 pieces that come of it than over what is in them. A module with
// anything out of the ordinary is returned as it is, to be judged by wazero.
func joined(module []byte) []byte {
	start, body, end, ok := findData(module)
	if !ok {
		return module
	}
	data, ok := joinData(body, len(module)/4)
	if !ok {
		return module
	}
	out := make([]byte, 0, len(module)+len(data)-len(body)+binary.MaxVarintLen32)
	out = append(append(out, module[:start]...), dataSection)
	out = append(binary.AppendUvarint(out, uint64(len(data))), data...)
	return append(out, module[end:]...)
}

// findData finds the data section, which ends the search: a module that counts
// its data beforehand may use the pieces by number.
func findData(module []byte) (start int, body []byte, end int, ok bool) {
	if len(module) < 8 {
		return 0, nil, 0, false
	}
	for at := 8; at < len(module); at = end {
		size, n := number32(module[at+1:])
		if n == 0 || uint64(size) > uint64(len(module)-at-1-n) {
			return 0, nil, 0, false
		}
		end = at + 1 + n + int(size)
		switch module[at] {
		case dataSection:
			return at, module[at+1+n : end], end, true
		case dataCountSection:
			return 0, nil, 0, false
		}
	}
	return 0, nil, 0, false
}

// number32 reads an unsigned number of WebAssembly; n is 0 where there is none.
func number32(b []byte) (v uint32, n int) {
	long, n := binary.Uvarint(b)
	if n <= 0 || n > binary.MaxVarintLen32 || long > math.MaxUint32 {
		return 0, 0
	}
	return uint32(long), n
}

// signed32 reads a signed number of WebAssembly.
func signed32(b []byte) (v int32, n int) {
	var long int64
	for n < len(b) && n < binary.MaxVarintLen32 {
		long |= int64(b[n]&0x7f) << (7 * n)
		n++
		if b[n-1] < 0x80 {
			if shift := 64 - 7*n; b[n-1]&0x40 != 0 {
				long = long << shift >> shift
			}
			if long < math.MinInt32 || long > math.MaxInt32 {
				return 0, 0
			}
			return int32(long), n
		}
	}
	return 0, 0
}

// run is data in one piece, and where in memory it begins.
type run struct {
	from  uint64
	bytes []byte
}

func (r run) to() uint64 { return r.from + uint64(len(r.bytes)) }

// Pieces at most so far apart become one: for more, a piece of its own is
// cheaper. Zeros go only where no earlier piece has been, and to know that, not
// too many are looked at.
const (
	closeBy  = 64
	mostRuns = 64
)

// joinData joins the pieces of a data section, which grows by most zeros. It is
// false where a piece is not of the plain kind: to be put in memory 0 at a
// constant address.
func joinData(section []byte, most int) ([]byte, bool) {
	count, n := number32(section)
	if n == 0 || count < 2 {
		return nil, false
	}
	var runs []run
	rest := section[n:]
	for range count {
		const active, constant, end = 0, 0x41, 0x0b
		if len(rest) < 2 || rest[0] != active || rest[1] != constant {
			return nil, false
		}
		address, n := signed32(rest[2:])
		if n == 0 || len(rest) <= 2+n || rest[2+n] != end {
			return nil, false
		}
		rest = rest[3+n:]
		size, n := number32(rest)
		if n == 0 || uint64(size) > uint64(len(rest)-n) {
			return nil, false
		}
		piece := run{uint64(uint32(address)), rest[n : n+int(size)]}
		rest = rest[n+int(size):]
		zeros, fits := gap(runs, piece)
		if !fits || zeros > most {
			runs = append(runs, run{piece.from, slices.Clone(piece.bytes)})
			continue
		}
		most -= zeros
		last := &runs[len(runs)-1]
		last.bytes = append(append(last.bytes, make([]byte, zeros)...), piece.bytes...)
	}
	if len(rest) > 0 {
		return nil, false
	}
	out := binary.AppendUvarint(make([]byte, 0, len(section)), uint64(len(runs)))
	for _, r := range runs {
		out = append(append(out, 0, 0x41), appendSigned(int32(uint32(r.from)))...)
		out = append(binary.AppendUvarint(append(out, 0x0b), uint64(len(r.bytes))), r.bytes...)
	}
	return out, true
}

// gap says how many zeros go between the last run and a piece, if the piece may
// follow it.
func gap(runs []run, piece run) (zeros int, fits bool) {
	if len(runs) == 0 {
		return 0, false
	}
	last := runs[len(runs)-1]
	if piece.from < last.to() || piece.from-last.to() > closeBy {
		return 0, false
	}
	if piece.from == last.to() {
		return 0, true
	}
	if len(runs) > mostRuns || slices.ContainsFunc(runs[:len(runs)-1], func(r run) bool { return r.from < piece.from && last.to() < r.to() }) {
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
