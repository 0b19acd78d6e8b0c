package architecture

import (
	"fmt"
	"go/ast"
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

// root is the repository, from here.
const root = "../.."

// source is one Go file: what it imports, the functions it has and the calls of
// other packages it makes.
type source struct {
	name      string // slash path from the root of the repository
	lines     int
	imports   []string
	calls     []string       // "time.Now"
	functions map[string]int // lines of each
	doc       string         // the comment of the package
}

func (s source) dir() string { return path.Dir(s.name) }
func (s source) test() bool  { return strings.HasSuffix(s.name, "_test.go") }

// product says whether a file is part of what is built, not of what tests it.
func (s source) product() bool { return !s.test() && !under(s.name, "tests") }

// sources is the repository, read once.
var sources []source

func read(t *testing.T) []source {
	t.Helper()
	if sources != nil {
		return sources
	}
	for _, name := range files(t, ".go") {
		s, err := readSource(name)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, s)
	}
	if len(sources) < 300 {
		t.Fatalf("read only %d Go files: the tables are not being held against the repository", len(sources))
	}
	return sources
}

func readSource(name string) (source, error) {
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return source{}, err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	s := source{name: name, lines: strings.Count(string(data), "\n"), functions: map[string]int{}, doc: parsed.Doc.Text()}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, imported)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if p, ok := n.X.(*ast.Ident); ok {
				s.calls = append(s.calls, p.Name+"."+n.Sel.Name)
			}
		case *ast.FuncDecl:
			begin := set.Position(n.Pos()).Line
			s.functions[fmt.Sprintf("%s, line %d", n.Name.Name, begin)] = set.Position(n.End()).Line - begin + 1
		}
		return true
	})
	return s, nil
}

// text is a file of the repository.
func text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// files are all of the repository's own with one of the extensions, by slash
// path.
func files(t *testing.T, extensions ...string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if slices.Contains(extensions, filepath.Ext(name)) {
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
