package wasm

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// sized is a text behind its size.
func sized(text string) string {
	return string(binary.AppendUvarint(nil, uint64(len(text)))) + text
}

// importing makes a module of these types and imports, with an import's kind and
// what belongs to it behind its names. Its code section is damaged.
func importing(types []string, imports ...string) []byte {
	vector := func(list []string) string {
		return sized(string(binary.AppendUvarint(nil, uint64(len(list)))) + strings.Join(list, ""))
	}
	return []byte(header + "\x01" + vector(types) + "\x02" + vector(imports) + "\x0a\x01\xff")
}

func imported(from, name, what string) string { return sized(from) + sized(name) + what }

// Types of functions: of proc_exit, of fd_close, and some that none of WASI has.
const (
	ofExit  = "\x60\x01\x7f\x00"
	ofClose = "\x60\x01\x7f\x01\x7f"
	ofLong  = "\x60\x14\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x01\x7f"
	ofFloat = "\x60\x01\x7c\x01\x7f"
	ofRef   = "\x60\x01\x64\xf0\xff\x7f\x01\x7f"
)

// TestImportsAreCheckedBeforeCompiling: the code of these modules cannot be
// compiled, and still they are refused for their imports.
func TestImportsAreCheckedBeforeCompiling(t *testing.T) {
	const way = "; only wasi_snapshot_preview1 is offered; recompile it for wasip1"
	types := []string{ofExit, ofClose, ofLong, ofFloat, ofRef}
	of := func(i byte) string { return "\x00" + string([]byte{i}) }
	exit := imported(wasiName, "proc_exit", of(0))
	for _, c := range []struct{ name, problem, imports string }{
		{"of WASI", "compiling the module: section code", exit},
		{"of another module", `the module imports the function "f" of "env"` + way, imported("env", "f", of(0))},
		{"of WASI's next preview", `the module imports the function "proc_exit" of "wasi"` + way, imported("wasi", "proc_exit", of(0))},
		{"that WASI does not have", `the module imports the function "fork" of "wasi_snapshot_preview1"` + way, imported(wasiName, "fork", of(0))},
		{"a table", `the module imports the table "t" of "env"` + way, imported("env", "t", "\x01\x70\x00\x00")},
		{"a memory", `the module imports the memory "memory" of "env"` + way, imported("env", "memory", "\x02\x00\x01")},
		{"a memory of WASI's", `the module imports the memory "fd_close"`, imported(wasiName, "fd_close", "\x02\x00\x01")},
		{"a global", `the module imports the global "g" of "env"` + way, imported("env", "g", "\x03\x7f\x00")},
		{"a tag", `the module imports the tag "t" of "env"` + way, imported("env", "t", "\x04\x00\x00")},
		{"a long name", `the function "` + strings.Repeat("x", 64) + `" of`, imported("env", strings.Repeat("x", 1000), of(0))},
		{"an unknown kind", "compiling the module: its imports cannot be read", imported(wasiName, "fd_close", "\x05\x00")},
		{"cut off", "compiling the module: its imports cannot be read", sized(wasiName) + "\x08fd"},
		{"more than it says", "compiling the module: its imports cannot be read", exit + "\x00"},
	} {
		_, err := Compile(t.Context(), importing(types, c.imports))
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v, want %q", c.name, err, c.problem)
		}
	}
	for _, c := range []struct{ name, problem, imports string }{
		{"with a result", `"proc_exit" of "wasi_snapshot_preview1" with another signature`, imported(wasiName, "proc_exit", of(1))},
		{"without a result", `"fd_close" of "wasi_snapshot_preview1" with another signature`, imported(wasiName, "fd_close", of(0))},
		{"of many parameters", "with another signature", imported(wasiName, "fd_close", of(2))},
		{"of a float", "with another signature", imported(wasiName, "fd_close", of(3))},
		{"of a reference", "with another signature", imported(wasiName, "fd_close", of(4))},
		{"of a type that is not there", "compiling the module", imported(wasiName, "fd_close", of(5))},
	} {
		module := importing(types, c.imports)
		_, err := Compile(t.Context(), module[:len(module)-3]) // without the damaged code
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v, want %q", c.name, err, c.problem)
		}
	}
	group := "\x4e\x02" + ofFloat + ofClose
	for name, module := range map[string][]byte{
		"types in a group":   importing([]string{group, ofExit}, imported(wasiName, "fd_close", of(1)), imported(wasiName, "proc_exit", of(2))),
		"the same once more": importing([]string{ofExit}, exit, exit),
		"none":               importing(nil),
	} {
		if err := checkImports(module); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Types without a section of them, and numbers that go on for ever.
	if _, err := Compile(t.Context(), []byte(header+"\x02"+sized("\x01"+exit))); err == nil {
		t.Error("a function without a type was accepted")
	}
	if err := checkImports([]byte(header + "\x01" + sized("\xff\xff\xff\xff\x0f\x4e\xff\xff\xff\xff\x0f"))); err != nil {
		t.Errorf("types alone: %v", err)
	}
}

// FuzzImports: of what wazero compiles, a module is refused for its imports just
// when they cannot all be linked.
func FuzzImports(f *testing.F) {
	of := func(i string) string { return "\x00" + i }
	for _, imports := range [][]string{
		{imported(wasiName, "proc_exit", of("\x00"))}, {imported(wasiName, "proc_exit", of("\x01"))},
		{imported(wasiName, "fd_close", of("\x01")), imported("env", "f", of("\x00"))},
		{imported("env", "memory", "\x02\x00\x01")}, {imported("env", "g", "\x03\x7f\x00")}, {imported("env", "t", "\x01\x70\x00\x00")}, {},
	} {
		module := importing([]string{ofExit, ofClose, ofRef}, imports...)
		f.Add(module[:len(module)-3]) // without the damaged code
	}
	f.Add([]byte(strings.Join(leaves[:], "")))
	f.Add([]byte(header + "\x01" + sized("\x02\x4e\x01"+ofFloat+ofClose) + "\x02" + sized("\x01"+imported(wasiName, "fd_close", of("\x01")))))
	// wazero takes memory for as many as a module says it has: here no number
	// has more than 14 bits.
	large := func(module []byte) bool {
		for i := range module[1:] {
			if module[i]&module[i+1] >= 0x80 {
				return true
			}
		}
		return false
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		if len(module) < headerSize || large(module) {
			return
		}
		config := wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithMemoryLimitPages(16)
		r := wazero.NewRuntimeWithConfig(t.Context(), config)
		defer r.Close(t.Context())
		if _, err := builder(r).Instantiate(t.Context()); err != nil {
			t.Fatal(err)
		}
		compiled, err := r.CompileModule(t.Context(), module)
		if err != nil {
			return
		}
		refused := checkImports(module)
		if refused == nil {
			refused = checkSignatures(compiled.ImportedFunctions())
		}
		if refused == nil && len(compiled.ImportedMemories()) > 0 {
			t.Fatalf("% x imports a memory, and was accepted", module)
		}
		_, err = r.InstantiateModule(t.Context(), compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err == nil && refused != nil {
			t.Fatalf("% x can be linked, and was refused: %v", module, refused)
		}
		if refused == nil && err != nil && strings.Contains(err.Error(), "import") {
			t.Fatalf("% x cannot be linked, and was accepted: %v", module, err)
		}
	})
}
