package wasm

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// piece is a piece of data for a module of the tests.
type piece struct {
	at   int32
	text string
}

// withData makes a module of 2 pages of memory with these pieces.
func withData(pieces ...piece) []byte {
	data := binary.AppendUvarint(nil, uint64(len(pieces)))
	for _, p := range pieces {
		data = append(append(data, 0, 0x41), appendSigned(p.at)...)
		data = append(binary.AppendUvarint(append(data, 0x0b), uint64(len(p.text))), p.text...)
	}
	module := []byte(header + "\x00\xc8\x01\x00" + strings.Repeat("x", 199) + // a section that means nothing
		"\x05\x03\x01\x00\x02" + "\x07\x0a\x01\x06memory\x02\x00" + "\x0b")
	return append(binary.AppendUvarint(module, uint64(len(data))), data...)
}

// memory is what a module's memory begins with; nil where it does not begin.
func memory(t testing.TB, module []byte) []byte {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(16))
	defer r.Close(t.Context())
	m, err := r.Instantiate(t.Context(), module)
	if err != nil || m.ExportedMemory("memory") == nil {
		return nil
	}
	b, _ := m.Memory().Read(0, m.Memory().Size())
	return bytes.Clone(b)
}

// countData is how many pieces of data a module has.
func countData(module []byte) (pieces int) {
	for s := range sections(module) {
		if s.id == dataSection {
			n, _ := number32(s.body)
			pieces += int(n)
		}
	}
	return pieces
}

func TestJoined(t *testing.T) {
	const pages = 2 * PageSize
	for _, c := range []struct {
		name   string
		pieces []piece
		count  int // of pieces that are left
	}{
		{"one after the other", []piece{{100, "ab"}, {102, "cd"}}, 1},
		{"a gap", []piece{{100, "ab"}, {110, "cd"}, {130, "e"}}, 1},
		{"far apart", []piece{{100, "ab"}, {1000, "cd"}}, 2},
		{"backwards", []piece{{110, "ab"}, {100, "cd"}}, 2},
		{"one over the other", []piece{{100, "abcd"}, {102, "xy"}}, 2},
		{"a gap that was written before", []piece{{105, "abc"}, {100, "12"}, {110, "34"}}, 3},
		{"a gap beside what was written before", []piece{{110, "abc"}, {100, "12"}, {105, "34"}}, 2},
		{"a gap that is written later", []piece{{100, "12"}, {110, "34"}, {105, "abc"}}, 2},
		{"nothing at the end of memory", []piece{{100, "a"}, {pages, ""}}, 2},
		{"to the end of memory", []piece{{pages - 10, "a"}, {pages - 2, "bc"}}, 1},
		{"out of memory", []piece{{pages - 10, "a"}, {pages - 2, "bcd"}}, 1},
		{"nothing out of memory", []piece{{pages - 10, "a"}, {pages + 2, ""}}, 1},
		{"an address in the upper half", []piece{{0, "a"}, {-8, "b"}, {-2, "c"}}, 2},
	} {
		module := withData(c.pieces...)
		if left := countData(prepared(module)); left != c.count {
			t.Errorf("%s: %d pieces are left, want %d", c.name, left, c.count)
		}
		if !bytes.Equal(memory(t, module), memory(t, prepared(module))) {
			t.Errorf("%s: the memory is another", c.name)
		}
	}
}

// TestJoinedGrowsLittle: pieces that are mostly gap do not make a module large.
func TestJoinedGrowsLittle(t *testing.T) {
	var pieces []piece
	for i := range int32(2000) {
		pieces = append(pieces, piece{i * maxGap, "x"})
	}
	module := withData(pieces...)
	if got := prepared(module); len(got) > len(module)*5/4 || !bytes.Equal(memory(t, got), memory(t, module)) {
		t.Errorf("%d bytes became %d", len(module), len(got))
	}
}

// FuzzJoined: a module begins with the same memory, or does not begin, joined
// or not.
func FuzzJoined(f *testing.F) {
	f.Add(withData(piece{100, "ab"}, piece{110, "cd"}))
	f.Add(withData(piece{105, "abc"}, piece{100, "12"}, piece{110, "34"}))
	f.Add([]byte(header + "\x0b\x01\x00"))
	f.Fuzz(func(t *testing.T, module []byte) {
		if len(strings.Join(otherSections(module), "")) != len(module) {
			return // names may be damaged before, and are not there after
		}
		if got := prepared(module); !bytes.Equal(memory(t, module), memory(t, got)) {
			t.Fatalf("% x became % x", module, got)
		}
	})
}

// TestJoinedGo: what Go's linker makes is what this is for.
func TestJoinedGo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hello.wasm")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "phase/examples/hello")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the example: %v: %s", err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if before, after := countData(module), countData(prepared(module)); before < 1000 || after > 100 {
		t.Errorf("%d pieces of data became %d", before, after)
	}
}
