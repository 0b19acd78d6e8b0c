package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// metrics are the names of /metrics with what the code says of each.
func metrics(t *testing.T) string {
	help := map[string]string{}
	for _, dir := range []string{"appliance", "programs", "init"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				helpIn(t, parsed, help)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(help) < 15 {
		t.Fatalf("only %d metrics were read", len(help))
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\n`GET /metrics` answers in the text format of Prometheus. There are also the `go_…` and `process_…` metrics of its library.\n\n| metric | what |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(help)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, cell(help[name]))
	}
	return b.String()
}

var metric = regexp.MustCompile(`^phase_[a-z_]+$`)

// helpIn notes the texts that stand behind names of metrics: as the next argument
// of a call, or as Help beside Name.
func helpIn(t *testing.T, file *ast.File, help map[string]string) {
	t.Helper()
	named := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		var texts []ast.Expr
		switch n := n.(type) {
		case *ast.BasicLit:
			if name := literal(n); metric.MatchString(name) {
				named[name] = true
			}
		case *ast.CallExpr:
			texts = n.Args
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if pair, ok := e.(*ast.KeyValueExpr); ok {
					texts = append(texts, pair.Value)
				}
			}
		}
		for i, e := range texts {
			if name := literal(e); metric.MatchString(name) && i+1 < len(texts) {
				help[name] = literal(texts[i+1])
			}
		}
		return true
	})
	for name := range named {
		if help[name] == "" {
			t.Errorf("what the metric %s is was not found: its text must stand behind its name", name)
		}
	}
}

// literal is the value of a string literal, "" for all else.
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(lit.Value)
	return text
}

// targets is what `make help` lists.
func targets(t *testing.T) string {
	list := exec.Command("make", "-C", root, "--no-print-directory", "help")
	list.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	said, err := list.Output()
	if err != nil {
		t.Fatalf("make help: %v", err)
	}
	var b strings.Builder
	b.WriteString("# Targets of make\n")
	for line := range strings.Lines(string(said)) {
		line = strings.TrimRight(line, "\n")
		m := regexp.MustCompile(`^  (make \S+) +(.*)$`).FindStringSubmatch(line)
		switch {
		case m != nil:
			fmt.Fprintf(&b, "| `%s` | %s |\n", m[1], cell(m[2]))
		case regexp.MustCompile(`^[A-Z][a-z ]+$`).MatchString(line):
			fmt.Fprintf(&b, "\n## %s\n\n| target | what |\n|---|---|\n", line)
		case line != "":
			fmt.Fprintf(&b, "\n%s\n", cell(line))
		}
	}
	return b.String()
}
