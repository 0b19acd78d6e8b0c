package scheduler

import (
	"bytes"
	"encoding/binary"
)

// assembled is a module put together by hand: what no compiler would write.
type assembled struct {
	imports []string // functions of WASI, each of the type its name has below
	tables  []byte   // the table section's body
	memory  []byte   // the memory section's body
	bodies  [][]byte // of functions that take and return nothing; the first is _start
	data    []byte   // placed at 0
	start   bool     // the first function is the start function instead
}

// Instructions, and the few numbers the modules use
// (https://webassembly.github.io/spec/core/binary/instructions.html).
const (
	opUnreachable, opLoop, opBr, opEnd, opCall, opDrop, opConst, opGrow = 0x00, 0x03, 0x0c, 0x0b, 0x10, 0x1a, 0x41, 0x40
	empty                                                               = 0x40
)

// types of the imported functions: how many i32 (or i64) they take.
var wasiTypes = map[string][]byte{
	"fd_write":       {0x7f, 0x7f, 0x7f, 0x7f},
	"fd_read":        {0x7f, 0x7f, 0x7f, 0x7f},
	"clock_time_get": {0x7f, 0x7e, 0x7f},
	"poll_oneoff":    {0x7f, 0x7f, 0x7f, 0x7f},
	"proc_exit":      {0x7f},
	"random_get":     {0x7f, 0x7f},
}

func (a assembled) bytes() []byte {
	var types, imports, functions, code [][]byte
	types = append(types, []byte{0x60, 0, 0})
	for i, name := range a.imports {
		params := wasiTypes[name]
		results := []byte{1, 0x7f}
		if name == "proc_exit" {
			results = []byte{0}
		}
		types = append(types, join([]byte{0x60}, sized(params), results))
		imports = append(imports, join(sized([]byte("wasi_snapshot_preview1")), sized([]byte(name)), []byte{0, byte(i + 1)}))
	}
	for _, body := range a.bodies {
		functions = append(functions, []byte{0})
		code = append(code, sized(join([]byte{0}, body, []byte{opEnd})))
	}
	first := uleb(uint64(len(a.imports)))
	exports := [][]byte{}
	if len(a.bodies) > 0 && !a.start {
		exports = append(exports, join(sized([]byte("_start")), []byte{0}, first))
	}
	if a.memory != nil {
		exports = append(exports, join(sized([]byte("memory")), []byte{2, 0}))
	}
	module := []byte("\x00asm\x01\x00\x00\x00")
	add := func(id byte, body []byte) { module = append(module, join([]byte{id}, sized(body))...) }
	add(1, vector(types))
	add(2, vector(imports))
	add(3, vector(functions))
	if a.tables != nil {
		add(4, a.tables)
	}
	if a.memory != nil {
		add(5, a.memory)
	}
	add(7, vector(exports))
	if a.start {
		add(8, first)
	}
	add(10, vector(code))
	if a.data != nil {
		add(11, vector([][]byte{join([]byte{0, opConst, 0, opEnd}, sized(a.data))}))
	}
	return module
}

func uleb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func sized(b []byte) []byte { return join(uleb(uint64(len(b))), b) }

func vector(items [][]byte) []byte { return join(uleb(uint64(len(items))), join(items...)) }

// pages is a memory section with one memory of n pages.
func pages(n uint64) []byte { return join([]byte{1, 0}, uleb(n)) }

func op(b ...byte) []byte { return b }

// forever repeats a body without end.
func forever(body ...byte) []byte {
	return join(op(opLoop, empty), body, op(opBr, 0, opEnd))
}
