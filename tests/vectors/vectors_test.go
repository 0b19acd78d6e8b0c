// Package vectors makes the vectors of jobs and receipts, and reads them as
// another program would: each with the answer every reader must give. The PHP
// SDK reads the same files. Those of manifests and roots are made beside
// package trust.
package vectors

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors anew")

// folder collects the files of one folder of vectors.
type folder struct {
	t     *testing.T
	name  string
	files map[string][]byte
}

func (f *folder) add(file string, data []byte) {
	f.t.Helper()
	if _, twice := f.files[file]; twice {
		f.t.Fatalf("two vectors are called %s", file)
	}
	f.files[file] = data
}

// settle holds the files of the repository against those made, or writes them.
func (f *folder) settle(cases any) {
	f.t.Helper()
	data, err := json.MarshalIndent(cases, "", "  ")
	if err != nil {
		f.t.Fatal(err)
	}
	f.add("cases.json", append(data, '\n'))
	if *update {
		if err := os.RemoveAll(f.name); err != nil {
			f.t.Fatal(err)
		}
		if err := os.Mkdir(f.name, 0o755); err != nil {
			f.t.Fatal(err)
		}
		for file, data := range f.files {
			if err := os.WriteFile(filepath.Join(f.name, file), data, 0o644); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(f.name)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(entries) != len(f.files) {
		f.t.Errorf("%s holds %d files, made are %d", f.name, len(entries), len(f.files))
	}
	for file, want := range f.files {
		if got := load(f.t, f.name, file); !bytes.Equal(got, want) {
			f.t.Errorf("%s/%s is not what is made; run this test with -update and read the difference", f.name, file)
		}
	}
}

func load(t testing.TB, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func loadCases(t testing.TB, folder string, cases any) {
	t.Helper()
	if err := json.Unmarshal(load(t, folder, "cases.json"), cases); err != nil {
		t.Fatal(err)
	}
}

// pad lengthens a document with spaces, which JSON ignores.
func pad(data []byte, to int) []byte {
	if n := to - len(data); n > 0 {
		return append(bytes.Clone(data), bytes.Repeat([]byte{' '}, n)...)
	}
	return data
}

// count refuses a set of vectors that has grown too small to mean anything.
func count(t *testing.T, codes []string) {
	t.Helper()
	valid, damaged := 0, 0
	for _, code := range codes {
		if code == "" {
			valid++
		} else {
			damaged++
		}
	}
	if valid < 20 || damaged < 30 {
		t.Errorf("%d valid and %d damaged vectors; 20 and 30 is the least", valid, damaged)
	}
}
