package nodes

import (
	"encoding/binary"
	"slices"
)

// Says returns a small module that writes a text to its standard output; forever
// where again is true.
func Says(text string, again bool) []byte {
	write := "\x41\x01\x41\x00\x41\x01\x41\x08\x10\x00\x1a" // fd_write(1, 0, 1, 8), and what it returns is dropped
	if again {
		write = "\x03\x40" + write + "\x0c\x00\x0b" // a loop, to its begin
	}
	return module(write, text)
}

// Loops returns a small module that never ends.
func Loops() []byte { return module("\x03\x40\x0c\x00\x0b", "") }

// module assembles a module that imports fd_write, whose memory has one vector at
// 0 that holds text, and whose _start is code.
func module(code, text string) []byte {
	const at = 16 // where the text is
	vector := binary.LittleEndian.AppendUint32(nil, at)
	vector = binary.LittleEndian.AppendUint32(vector, uint32(len(text)))
	data := string(vector) + "\x00\x00\x00\x00\x00\x00\x00\x00" + text
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, "\x02\x60\x00\x00\x60\x04\x7f\x7f\x7f\x7f\x01\x7f"),                // nothing to nothing; four to one
		section(2, "\x01"+name("wasi_snapshot_preview1")+name("fd_write")+"\x00\x01"), // imported
		section(3, "\x01\x00"),                                                 // a function
		section(5, "\x01\x00"+number(1+(at+len(text))>>16)),                    // a memory, in pages
		section(7, "\x02"+name("memory")+"\x02\x00"+name("_start")+"\x00\x01"), // exported
		section(10, "\x01"+number(len(code)+2)+"\x00"+code+"\x0b"),             // the function
		section(11, "\x01\x00\x41\x00\x0b"+number(len(data))+data),             // what is in the memory
	)
}

func section(id byte, body string) []byte { return []byte(string(id) + number(len(body)) + body) }

func name(text string) string { return number(len(text)) + text }

// number is a number as modules write it.
func number(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }
