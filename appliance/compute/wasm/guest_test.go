package wasm

import (
	"encoding/binary"
	"os"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// guest calls the functions of WASI as a module does, with a memory of its own.
type guest struct {
	*testing.T
	system *system
	module api.Module
	free   uint32 // in the memory
}

// newGuest makes a guest with these folders, from descriptor 3 on.
func newGuest(t *testing.T, c Config, folders ...string) *guest {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	for _, stream := range []**os.File{&c.Stdin, &c.Stdout, &c.Stderr} {
		if *stream == nil {
			*stream = null
		}
	}
	for _, name := range folders {
		dir, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		c.Folders = append(c.Folders, Folder{Guest: name, Dir: dir})
	}
	s, err := newSystem(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.closeAll)
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { r.Close(t.Context()) })
	module, err := r.Instantiate(t.Context(), []byte(header+"\x05\x03\x01\x00\x10")) // 16 pages of memory
	if err != nil {
		t.Fatal(err)
	}
	return &guest{T: t, system: s, module: module}
}

// readOnly makes the folder of a descriptor read-only.
func readOnly(dir string, t *testing.T) Config {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return Config{Folders: []Folder{{Guest: "fixed", Dir: f, ReadOnly: true}}}
}

// call calls a function. A string among its parameters becomes two, where it
// is and how long, as for paths.
func (g *guest) call(name string, params ...any) errno {
	g.Helper()
	var stack []uint64
	for _, p := range params {
		switch p := p.(type) {
		case string:
			at := g.room(len(p))
			g.module.Memory().WriteString(at, p)
			stack = append(stack, uint64(at), uint64(len(p)))
		case int:
			stack = append(stack, uint64(p))
		case uint32:
			stack = append(stack, uint64(p))
		case rights:
			stack = append(stack, uint64(p))
		default:
			g.Fatalf("a parameter %T", p)
		}
	}
	i := slices.IndexFunc(functions, func(f function) bool { return f.name == name })
	if i < 0 || len(functions[i].params) != len(stack) {
		g.Fatalf("there is no %s of %d parameters", name, len(stack))
	}
	return functions[i].do(call{g.module, g.system, stack})
}

// must calls a function that succeeds.
func (g *guest) must(name string, params ...any) {
	g.Helper()
	if no := g.call(name, params...); no != success {
		g.Fatalf("%s%v: %d", name, params, no)
	}
}

// room is so much memory that nothing else uses.
func (g *guest) room(size int) (at uint32) {
	at = g.free
	g.free += uint32(size+7) &^ 7
	return at
}

func (g *guest) bytes(at uint32, size int) []byte {
	b, ok := g.module.Memory().Read(at, uint32(size))
	if !ok {
		g.Fatal("beyond the memory")
	}
	return b
}

func (g *guest) number(at uint32) int { return int(binary.LittleEndian.Uint32(g.bytes(at, 4))) }

// open opens a path in the folder fd; links at its end are followed.
func (g *guest) open(fd int, name string, how int, may rights, flags int) (int, errno) {
	at := g.room(4)
	no := g.call("path_open", fd, follow, name, how, may, rights(0), flags, at)
	return g.number(at), no
}

// vectors are one piece of memory, as read and write take it.
func (g *guest) vectors(at uint32, size int) uint32 {
	v := g.room(8)
	g.module.Memory().WriteUint32Le(v, at)
	g.module.Memory().WriteUint32Le(v+4, uint32(size))
	return v
}

func (g *guest) write(fd int, text string) errno {
	at := g.room(len(text))
	g.module.Memory().WriteString(at, text)
	return g.call("fd_write", fd, g.vectors(at, len(text)), 1, g.room(4))
}

func (g *guest) read(fd int) (string, errno) {
	const size = 64
	at, n := g.room(size), g.room(4)
	no := g.call("fd_read", fd, g.vectors(at, size), 1, n)
	return string(g.bytes(at, g.number(n))), no
}

// stat is what fd_fdstat_get tells.
func (g *guest) stat(fd int) (kind byte, flags uint16, base, inheriting rights) {
	g.Helper()
	at := g.room(24)
	g.must("fd_fdstat_get", fd, at)
	b := g.bytes(at, 24)
	return b[0], binary.LittleEndian.Uint16(b[2:]), rights(binary.LittleEndian.Uint64(b[8:])), rights(binary.LittleEndian.Uint64(b[16:]))
}
