package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

const header = "\x00asm\x01\x00\x00\x00"

func TestInspect(t *testing.T) {
	for _, c := range []struct {
		name, module string
		pages        uint64
		err          error
	}{
		{"empty", header, 0, nil},
		{"nothing", "", 0, ErrNotModule},
		{"short", header[:7], 0, ErrNotModule},
		{"text", "(module (func))", 0, ErrNotModule},
		{"component", "\x00asm\x0d\x00\x01\x00", 0, ErrComponent},
		{"version 2", "\x00asm\x02\x00\x00\x00", 0, ErrNotModule},
		{"one page", header + "\x05\x03\x01\x00\x01", 1, nil},
		{"behind another section", header + "\x01\x01\x00\x05\x04\x01\x01\x02\x03", 2, nil},
		{"65536 pages", header + "\x05\x05\x01\x00\x80\x80\x04", 65536, nil},
		{"no memory", header + "\x05\x01\x00", 0, nil},
		{"cut off", header + "\x05\x03\x01\x00", 0, nil},
		{"cut off size", header + "\x05\x80", 0, nil},
		{"endless number", header + "\x05\x0d\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0, nil},
		{"too large", header + string(make([]byte, MaxModule)), 0, ErrTooLarge},
	} {
		info, err := Inspect([]byte(c.module))
		if !errors.Is(err, c.err) || info.MemoryPages != c.pages {
			t.Errorf("%s: %+v, %v", c.name, info, err)
		}
	}
}

// FuzzInspect: what is no module is refused, and reading one ends.
func FuzzInspect(f *testing.F) {
	f.Add([]byte(header + "\x05\x03\x01\x00\x01"))
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Add(binary.AppendUvarint([]byte(header+"\x05"), 1<<63))
	f.Fuzz(func(t *testing.T, module []byte) {
		_, err := Inspect(module)
		if is := bytes.HasPrefix(module, []byte(header)); is != (err == nil) {
			t.Fatalf("begins like a module: %v, Inspect: %v", is, err)
		}
	})
}
