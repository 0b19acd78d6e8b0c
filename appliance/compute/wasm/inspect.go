package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxModule is the largest module in bytes that is looked at.
const MaxModule = 64 << 20

// PageSize is the unit in which WebAssembly counts memory, in bytes.
const PageSize = 64 << 10

// Errors of Inspect.
var (
	ErrNotModule = errors.New("not a WebAssembly module")
	ErrComponent = errors.New("this is a WebAssembly component, not a module; recompile it for wasip1 (WASI preview 1)")
	ErrTooLarge  = errors.New("the module is too large")
)

// Info is what a module says about itself before anything of it is compiled.
type Info struct {
	MemoryPages uint64 // the memory it starts with, in pages of 64 KiB
}

// Inspect reads the first layer of a module: the header and the memory section
// (https://webassembly.github.io/spec/core/binary/modules.html). It accepts
// damaged modules, which the compiler refuses; it refuses only what is no
// module at all.
func Inspect(module []byte) (Info, error) {
	if len(module) > MaxModule {
		return Info{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(module), MaxModule)
	}
	if len(module) < 8 || string(module[:4]) != "\x00asm" {
		return Info{}, fmt.Errorf("%w: it does not begin with \\0asm", ErrNotModule)
	}
	switch v := binary.LittleEndian.Uint32(module[4:]); {
	case v == 1:
	case v>>16 == 1: // the component model's layer number
		return Info{}, ErrComponent
	default:
		return Info{}, fmt.Errorf("%w: version %d is not known, 1 is", ErrNotModule, v)
	}
	const memorySection = 5
	for rest := module[8:]; len(rest) > 0; {
		id := rest[0]
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) {
			return Info{}, nil
		}
		body := rest[1+n : 1+n+int(size)]
		if id == memorySection {
			return Info{MemoryPages: firstMemory(body)}, nil
		}
		rest = rest[1+n+int(size):]
	}
	return Info{}, nil
}

// firstMemory returns the smallest size of the first memory in the section:
// after the count, a byte of flags and the size in pages.
func firstMemory(section []byte) uint64 {
	count, n := binary.Uvarint(section)
	if n <= 0 || count == 0 || len(section) < n+1 {
		return 0
	}
	pages, m := binary.Uvarint(section[n+1:])
	if m <= 0 {
		return 0
	}
	return pages
}
