package wasm

import (
	"errors"
	"fmt"
)

// importKinds are what a module can import, by the number it has in the format
// (https://webassembly.github.io/spec/core/binary/modules.html#import-section).
var importKinds = [...]string{"function", "table", "memory", "global", "tag"}

// checkImports refuses a module that imports anything but WASI's functions, with
// the way out. It reads nothing behind the imports, so a large module costs
// nothing, and fails closed: imports that cannot be read are refused.
func checkImports(module []byte) error {
	const way = "only wasi_snapshot_preview1 is offered; recompile it for wasip1"
	offered, signatures := offers()
	var types []byte
	for s := range sections(module) {
		switch r := (&reader{rest: s.body}); s.id {
		case typeSection:
			types = r.types(signatures)
		case importSection:
			for range r.number() {
				from, name, kind := r.bytes(), r.bytes(), r.byte()
				if int(kind) >= len(importKinds) {
					r.fail()
				}
				if r.bad {
					break
				}
				wants := offered[string(name)]
				if kind != 0 || string(from) != wasiName || wants == 0 {
					return fmt.Errorf("the module imports the %s %.64q of %.64q; %s", importKinds[kind], name, from, way)
				}
				if i := r.number(); !r.bad && (uint64(i) >= uint64(len(types)) || types[i] != wants) {
					return fmt.Errorf("the module imports the function %.64q of %.64q with another signature; %s", name, from, way)
				}
			}
			if r.bad || len(r.rest) > 0 {
				return errors.New("compiling the module: its imports cannot be read")
			}
		}
	}
	return nil
}

// offers gives each signature of WASI's functions a number, from 1 on, and each
// function that of its signature.
func offers() (offered, signatures map[string]byte) {
	offered, signatures = map[string]byte{}, map[string]byte{}
	for _, f := range functions {
		signature := f.params + ">" + f.results()
		if signatures[signature] == 0 {
			signatures[signature] = byte(len(signatures) + 1)
		}
		offered[f.name] = signatures[signature]
	}
	return offered, signatures
}

// types reads a type section: of each type the number of its signature, 0 for
// those that have none. They are bytes, and no more than the section has: a
// module can have millions.
func (r *reader) types(signatures map[string]byte) (types []byte) {
	const group = 0x4e // of types that refer to each other; each counts
	letters := make([]byte, 0, 32)
	for range r.number() {
		members := uint32(1)
		if len(r.rest) > 0 && r.rest[0] == group {
			r.byte()
			members = r.number()
		}
		for range members {
			kind := signatures[string(r.signature(letters))]
			if r.bad {
				return types
			}
			types = append(types, kind)
		}
	}
	return types
}

// signature reads the type of a function: a letter for each parameter and
// result, as in the table of functions. Of a long one it keeps the beginning,
// which is none of WASI's.
func (r *reader) signature(letters []byte) []byte {
	const function = 0x60
	const most = 16 // letters; WASI's longest has 11
	if r.byte() != function {
		r.fail()
	}
	for side := range 2 {
		if side > 0 {
			letters = append(letters, '>')
		}
		for n := r.number(); n > 0 && !r.bad; n-- {
			if letter := r.valueType(); len(letters) < most {
				letters = append(letters, letter)
			}
		}
	}
	return letters
}

// valueType reads a type of values: i for 32 bits, I for 64, and ? for those
// that no function of WASI has.
func (r *reader) valueType() byte {
	const i32, i64, nullable, reference = 0x7f, 0x7e, 0x63, 0x64
	switch r.byte() {
	case i32:
		return 'i'
	case i64:
		return 'I'
	case nullable, reference: // to what, is a number
		for r.byte() >= 0x80 {
		}
	}
	return '?'
}
