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

// headerSize is the size of what a module begins with: its magic and version.
const headerSize = 8

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
	if len(module) < headerSize || string(module[:4]) != "\x00asm" {
		return Info{}, fmt.Errorf("%w: it does not begin with \\0asm", ErrNotModule)
	}
	switch v := binary.LittleEndian.Uint32(module[4:]); {
	case v == 1:
	case v>>16 == 1: // the component model's layer number
		return Info{}, ErrComponent
	default:
		return Info{}, fmt.Errorf("%w: version %d is not known, 1 is", ErrNotModule, v)
	}
	for s := range sections(module) {
		if s.id == memorySection {
			return Info{MemoryPages: firstMemory(s.body)}, nil
		}
	}
	return Info{}, nil
}

// firstMemory returns the smallest size of the first memory in the section:
// after the count, a byte of flags and the size in pages.
func firstMemory(body []byte) uint64 {
	r := reader{rest: body}
	count, _ := r.number(), r.byte()
	pages, n := binary.Uvarint(r.rest)
	if count == 0 || r.bad || n <= 0 {
		return 0
	}
	return pages
}
