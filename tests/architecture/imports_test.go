// Package architecture holds the repository to its own rules: who may import what,
// which packages are pure, and which third-party library has which owner.
package architecture

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// folders says what each folder may import of this module. appliance is the
// ground; programs/phase alone sees the programs.
var folders = map[string][]string{
	"appliance":      {"appliance"},
	"init":           {"appliance"},
	"programs":       {"appliance"},
	"programs/phase": {"appliance", "programs"},
	"kernel":         {},
	"images":         {"appliance", "kernel"},
	"qemu":           {"appliance"},
	"examples":       {},
	"tests":          {"appliance", "kernel", "images", "qemu"},
}

// pure packages touch nothing: clocks and randomness come in as arguments.
var pure = []string{"boot", "envelope", "jobspec", "receipt", "release", "segments", "strictjson", "trust"}

// impure is what a pure package may not import.
// The types of net/netip and net/url are values, and welcome.
var impure = []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "math/rand", "math/rand/v2", "crypto/rand"}

// owners: a third-party library, by the start of its path, has one package
// that imports it (more where the line says so).
var owners = map[string][]string{
	"github.com/alecthomas/kong":                    {"appliance/base/program"},
	"github.com/schollz/progressbar":                {"appliance/base/ui"},
	"github.com/dustin/go-humanize":                 {"appliance/base/ui"},
	"golang.org/x/term":                             {"appliance/base/ui", "qemu"},
	"github.com/go-json-experiment/json":            {"appliance/base/strictjson"},
	"github.com/google/renameio":                    {"appliance/base/statefile", "appliance/release/trial"},
	"github.com/mr-tron/base58":                     {"appliance/base/identity"},
	"github.com/vishvananda/netlink":                {"appliance/machine/link"},
	"github.com/insomniacslk/dhcp":                  {"appliance/machine/link"},
	"github.com/miekg/dns":                          {"appliance/network/lan", "tests/lab"},
	"golang.org/x/crypto/x509roots":                 {"appliance/release/fetch"},
	"golang.org/x/net":                              {"appliance/network/lan", "appliance/machine/link"},
	"github.com/u-root/u-root":                      {"appliance/machine/initrd", "appliance/machine/kexecplan"},
	"github.com/klauspost/compress":                 {"appliance/release/kexec", "images"},
	"github.com/prometheus":                         {"appliance/daemon/status"},
	"github.com/tetratelabs/wazero":                 {"appliance/compute/wasm"},
	"github.com/pelletier/go-toml":                  {"appliance/daemon/config"},
	"go.etcd.io/bbolt":                              {"appliance/compute/history"},
	"github.com/landlock-lsm/go-landlock":           {"appliance/compute/sandbox"},
	"github.com/elastic/go-seccomp-bpf":             {"appliance/compute/sandbox"},
	"kernel.org/pub/linux/libs/security/libcap/psx": {"appliance/compute/sandbox"},
	"github.com/bytecodealliance/wasmtime-go":       {"tests/benchwasmtime"},
	"github.com/gokrazy/kernel":                     {"kernel"},
	"gvisor.dev/gvisor":                             {"qemu"},
	"golang.org/x/sys":                              {"appliance/daemon/api", "appliance/compute/history", "appliance/machine/linux", "appliance/compute/sandbox", "appliance/machine/link", "appliance/network/lan", "appliance/machine/control", "appliance/release/kexec", "appliance/release/trial", "init", "images", "qemu"},
	"github.com/google/go-cmp":                      {},
}

// file is one Go file's imports.
type file struct {
	name    string // slash path from the root of the repository
	imports []string
	test    bool
}

func TestImports(t *testing.T) {
	files := read(t, "../..")
	if len(files) < 50 {
		t.Fatalf("read only %d Go files: the table is not being held against the repository", len(files))
	}
	for _, f := range files {
		dir := path.Dir(f.name)
		for _, imported := range f.imports {
			if problem := judge(dir, imported, f.test); problem != "" {
				t.Errorf("%s: %s", f.name, problem)
			}
		}
	}
}

// TestJudge shows that each rule of the table refuses.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		dir, imported string
		test, ok      bool
	}{
		{"appliance/release/fetch", "phase/appliance/trust", false, true},
		{"appliance/release/fetch", "phase/programs/fetch", false, false},
		{"appliance/release/fetch", "phase/qemu", false, false},
		{"programs/fetch", "phase/programs/verify", false, false},
		{"programs/phase", "phase/programs/verify", false, true},
		{"appliance/release/trust", "os", false, false},
		{"appliance/release/trust", "os", true, true},
		{"appliance/release/fetch", "os", false, true},
		{"appliance/release/fetch", "github.com/tetratelabs/wazero", false, false},
		{"appliance/compute/wasm", "github.com/tetratelabs/wazero/api", false, true},
		{"appliance/release/fetch", "example.org/unknown", false, false},
		{"nowhere", "phase/appliance/trust", false, false},
	} {
		if problem := judge(c.dir, c.imported, c.test); (problem == "") != c.ok {
			t.Errorf("judge(%q, %q) = %q", c.dir, c.imported, problem)
		}
	}
}

// judge says what is wrong with a file in dir importing imported; "" if
// nothing. Tests beside the code may use what they need of the standard
// library and of third parties.
func judge(dir, imported string, test bool) string {
	if own, ok := strings.CutPrefix(imported, "phase/"); ok {
		allowed, known := folders[dir]
		for at := dir; !known && at != "."; {
			at = path.Dir(at)
			allowed, known = folders[at]
		}
		if !known {
			return "its folder is not in the table of folders"
		}
		top, _, _ := strings.Cut(own, "/")
		sameProgram := strings.HasPrefix(own, dir+"/") || own == dir
		if !slices.Contains(allowed, top) && !sameProgram && !(top == strings.Split(dir, "/")[0] && top != "programs") {
			return "may not import " + imported
		}
		return ""
	}
	if test {
		return ""
	}
	if name, ok := strings.CutPrefix(dir, "appliance/"); ok && slices.Contains(pure, name) && slices.Contains(impure, imported) {
		return "is pure and may not import " + imported
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for library, packages := range owners {
		if strings.HasPrefix(imported, library) {
			if slices.ContainsFunc(packages, func(p string) bool { return under(dir, p) }) {
				return ""
			}
			return "may not import " + imported + ", which " + strings.Join(packages, " and ") + " owns"
		}
	}
	return "imports " + imported + ", which has no owner in the table"
}

func under(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func read(t *testing.T, root string) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f := file{name: filepath.ToSlash(rel), test: strings.HasSuffix(name, "_test.go")}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
