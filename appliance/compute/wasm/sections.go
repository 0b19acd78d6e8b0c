package wasm

import (
	"encoding/binary"
	"iter"
	"math"
)

// Sections of a module that are looked into
// (https://webassembly.github.io/spec/core/binary/modules.html#sections).
const (
	customSection    = 0
	importSection    = 2
	memorySection    = 5
	dataSection      = 11
	dataCountSection = 12
)

// section is a section of a module, with where it begins and ends in it.
type section struct {
	id         byte
	body       []byte
	start, end int
}

// sections are the sections of a module, up to the first that is damaged.
func sections(module []byte) iter.Seq[section] {
	return func(yield func(section) bool) {
		for at := headerSize; at < len(module); {
			size, n := number32(module[at+1:])
			if n == 0 || uint64(size) > uint64(len(module)-at-1-n) {
				return
			}
			s := section{module[at], module[at+1+n:][:size], at, at + 1 + n + int(size)}
			if !yield(s) {
				return
			}
			at = s.end
		}
	}
}

// number32 reads an unsigned number of WebAssembly; n is 0 where there is none.
func number32(b []byte) (v uint32, n int) {
	long, n := binary.Uvarint(b)
	if n <= 0 || n > binary.MaxVarintLen32 || long > math.MaxUint32 {
		return 0, 0
	}
	return uint32(long), n
}

// reader reads the parts of a section. After the end, or where a number is
// damaged, it is bad and reads zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) fail() { r.rest, r.bad = nil, true }

// take reads n bytes.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) number() uint32 {
	v, n := number32(r.rest)
	if r.take(n); n == 0 {
		r.fail()
	}
	return v
}

// bytes reads a size and so many bytes.
func (r *reader) bytes() []byte {
	size := r.number()
	return r.take(int(size))
}

// signed reads a signed number of 32 bits.
func (r *reader) signed() int32 {
	var long int64
	for n := range min(len(r.rest), binary.MaxVarintLen32) {
		b := r.rest[n]
		long |= int64(b&0x7f) << (7 * n)
		if b >= 0x80 {
			continue
		}
		if shift := 64 - 7*(n+1); b&0x40 != 0 {
			long = long << shift >> shift
		}
		if long < math.MinInt32 || long > math.MaxInt32 {
			break
		}
		r.take(n + 1)
		return int32(long)
	}
	r.fail()
	return 0
}

// isName reports whether the body of a custom section begins with "name" as
// its name.
func isName(body []byte) bool {
	r := reader{rest: body}
	return string(r.bytes()) == "name"
}
