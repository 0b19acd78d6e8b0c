package wasm

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/compute/job"
)

// custom is a custom section. Its name's length takes more bytes than it must,
// if padded.
func custom(name, content string, padded bool) string {
	length := []byte{byte(len(name))}
	if padded {
		length = []byte{byte(len(name)) | 0x80, 0x80, 0}
	}
	body := string(length) + name + content
	return "\x00" + string(binary.AppendUvarint(nil, uint64(len(body)))) + body
}

// leaves is a module that leaves with the code 7, in three parts between
// which custom sections may be.
var leaves = [3]string{
	header,
	"\x01\x08\x02\x60\x00\x00\x60\x01\x7f\x00" + // the types () and (i32)
		"\x02\x24\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x01" + "\x03\x02\x01\x00" + "\x07\x0a\x01\x06_start\x00\x01",
	"\x0a\x08\x01\x06\x00\x41\x07\x10\x00\x0b",
}

// What is in a custom section, no module is refused for.
func TestCustomSectionsAreIgnored(t *testing.T) {
	garbage := strings.Repeat("\xff", 40)
	for name, section := range map[string]string{
		"none":                  "",
		"of names":              custom("name", "\x00\x02\x01m", false),
		"of names, empty":       custom("name", "", false),
		"of names, damaged":     custom("name", garbage, false),
		"of names, cut":         custom("name", "\x01\x7f\x05", false),
		"of names, padded":      custom("name", garbage, true),
		"of names, twice":       custom("name", "\x00\x02\x01m", false) + custom("name", "\x00\x02\x01m", false),
		"of producers, damaged": custom("producers", garbage, false),
		"of a linker, damaged":  custom("dylink.0", garbage, false),
		"of DWARF, damaged":     custom(".debug_info", garbage, false) + custom(".debug_line", garbage, false),
		"without a name":        custom("", garbage, false),
	} {
		for where := range 4 {
			text := strings.Join(leaves[:min(where, 3)], "") + section + strings.Join(leaves[min(where, 3):], "")
			if where == 0 {
				text = strings.Join(leaves[:], section) // between all
			}
			module := []byte(text)
			compiled, err := Compile(t.Context(), module)
			if err != nil {
				t.Errorf("%s, at %d: %v", name, where, err)
				continue
			}
			m, err := Load(t.Context(), module, compiled, 1)
			if err != nil {
				t.Errorf("%s, at %d: %v", name, where, err)
				continue
			}
			end, err := m.Run(t.Context(), nowhere(t))
			if err != nil || end != (End{Outcome: job.Exited, Code: 7}) {
				t.Errorf("%s, at %d: %v, %v", name, where, end, err)
			}
		}
	}
	// That it has a name at all is another matter.
	for name, section := range map[string]string{
		"a name that is not UTF-8":       custom("\xff", "", false),
		"a name longer than the section": "\x00\x03\x04na",
	} {
		if _, err := Compile(t.Context(), []byte(header+section)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// nowhere is a run whose streams lead nowhere.
func nowhere(t *testing.T) Config {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	return Config{Stdin: null, Stdout: null, Stderr: null}
}

// otherSections are the sections of a module, but those of names; what does not
// look like one is the last.
func otherSections(module []byte) (list []string) {
	if len(module) < 8 {
		return []string{string(module)}
	}
	list = []string{string(module[:8])}
	for rest := module[8:]; len(rest) > 0; {
		size, n := number32(rest[1:])
		if n == 0 || int(size) > len(rest)-1-n {
			return append(list, string(rest))
		}
		end := 1 + n + int(size)
		if rest[0] != 0 || !isName(rest[1+n:end]) {
			list = append(list, string(rest[:end]))
		}
		rest = rest[end:]
	}
	return list
}

// FuzzWithoutNames: of the sections of a module those of names go, and no other
// byte; what is no module stays as it is.
func FuzzWithoutNames(f *testing.F) {
	f.Add([]byte(strings.Join(leaves[:], custom("name", "\xff", true))))
	f.Add([]byte(header + custom("name", "", false) + "\x00"))
	f.Add([]byte(header + custom("names", "", false) + custom("nam", "", false)))
	f.Fuzz(func(t *testing.T, module []byte) {
		if countData(module) > 0 {
			return // see FuzzJoined
		}
		got := prepared(module)
		want := []byte(strings.Join(otherSections(module), ""))
		if len(got) == len(module) {
			want = module // nothing to drop, or no module
		}
		if !bytes.Equal(got, want) || !bytes.Equal(prepared(got), got) {
			t.Fatalf("% x became % x", module, got)
		}
	})
}

// BenchmarkWithoutNames: what it takes of a module of 10 MB.
func BenchmarkWithoutNames(b *testing.B) {
	code := custom("code", strings.Repeat("x", 9<<20), false)
	for name, module := range map[string]string{
		"without names":     header + code,
		"1 MiB of names":    header + code + custom("name", strings.Repeat("x", 1<<20), false),
		"nothing but names": header + strings.Repeat(custom("name", "", false), 10<<20/7),
		"tiny sections":     header + strings.Repeat(custom("", "", false)+custom("name", "", false), 1<<20),
	} {
		b.Run(name, func(b *testing.B) {
			module := []byte(module)
			b.SetBytes(int64(len(module)))
			for b.Loop() {
				prepared(module)
			}
		})
	}
}

// BenchmarkLoadNamed: a program of Go as its compiler leaves it, with names.
func BenchmarkLoadNamed(b *testing.B) {
	file := filepath.Join(b.TempDir(), "hello.wasm")
	build := exec.Command("go", "build", "-o", file, "phase/examples/hello")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building the example: %v: %s", err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	compiled, err := Compile(b.Context(), module)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Load(b.Context(), module, compiled, 512); err != nil {
			b.Fatal(err)
		}
	}
}
