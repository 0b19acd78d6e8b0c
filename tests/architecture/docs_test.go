package architecture

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"phase/appliance/base/refusal"
)

var update = flag.Bool("update", false, "write the table of packages into appliance/README.md")

// literals are the string literals of the programs on a node, tests left out.
func literals(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, name := range files(t, ".go") {
		top, _, _ := strings.Cut(name, "/")
		if !slices.Contains([]string{"appliance", "init", "programs"}, top) || strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					found[s] = true
				}
			} else if ok && lit.Kind == token.INT {
				found[lit.Value] = true
			}
			return true
		})
	}
	return found
}

// rows are the first cells of the table under a heading, without backquotes.
func rows(t *testing.T, markdown, heading string) []string {
	t.Helper()
	_, section, ok := strings.Cut(markdown, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("there is no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var cells []string
	for line := range strings.Lines(section) {
		if cell := regexp.MustCompile("^\\| `([^`]+)`").FindStringSubmatch(line); cell != nil {
			cells = append(cells, cell[1])
		}
	}
	if len(cells) == 0 {
		t.Fatalf("the table under %q is empty", heading)
	}
	return cells
}

// TestArchitecturePage: what the page says there is, is in the code, and no
// state file of the code is missing from it.
func TestArchitecturePage(t *testing.T) {
	page, code := text(t, "appliance/README.md"), literals(t)
	named := map[string]bool{}
	for _, file := range rows(t, page, "State files") {
		named[path.Base(file)] = true
		if !code[path.Base(file)] && !code[file] {
			t.Errorf("state file %s is in no program", file)
		}
	}
	for s := range code {
		if regexp.MustCompile(`^[a-z][a-z.-]*\.(json|pem|part)$`).MatchString(s) && !named[s] {
			t.Errorf("%s is in the code and not in the table of state files", s)
		}
	}
	for _, socket := range rows(t, page, "Sockets") {
		if !code[socket] {
			t.Errorf("socket %s is in no program", socket)
		}
	}
	for _, port := range rows(t, page, "Ports") {
		number := strings.Fields(port)[1]
		found := code[number]
		for s := range code {
			found = found || strings.HasSuffix(s, ":"+number)
		}
		if !found {
			t.Errorf("port %s is in no program", port)
		}
	}
	for _, folder := range rows(t, page, "Folders on a node") {
		// "/perm/phase/plasmd" stands in the code whole or as the parts it is
		// joined of.
		if !code[folder] && !code[path.Base(folder)] {
			t.Errorf("folder %s is in no program", folder)
		}
	}
}

// TestWings: the page opens with the wings, in their order, a line each, and its
// table of changes is not cut short.
func TestWings(t *testing.T) {
	page := text(t, "appliance/README.md")
	opening, rest, _ := strings.Cut(page, "\n## ")
	var named []string
	for _, m := range regexp.MustCompile("(?m)^\\| `appliance/([a-z]+)` \\| .+\\? \\|$").FindAllStringSubmatch(opening, -1) {
		named = append(named, m[1])
	}
	if !slices.Equal(named, wings) {
		t.Errorf("appliance/README.md opens with the wings %v, there are %v", named, wings)
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	if changes := strings.Count(section, "\n| ") - 1; !strings.HasPrefix(section, "Where do I change") || changes < 10 {
		t.Errorf("the table \"Where do I change …\" has %d changes", changes)
	}
}

// TestPackageTable: each package has a line, which is the first sentence of
// its comment, up to a colon.
func TestPackageTable(t *testing.T) {
	const begin, end = "<!-- packages: go test ./tests/architecture -run TestPackageTable -update -->\n", "<!-- end of packages -->\n"
	page := text(t, "appliance/README.md")
	before, rest, ok := strings.Cut(page, begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatal("the marks around the table of packages are gone")
	}
	want := packageTable(t)
	if *update {
		if err := os.WriteFile(filepath.Join(root, "appliance/README.md"), []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Error("the table of packages in appliance/README.md is not what the packages say of themselves; write it anew:\n" +
			"go test ./tests/architecture -run TestPackageTable -update")
	}
}

func packageTable(t *testing.T) string {
	t.Helper()
	comments := map[string]string{}
	for _, name := range files(t, ".go") {
		if !strings.HasPrefix(name, "appliance/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := strings.TrimPrefix(path.Dir(name), "appliance/")
		if comments[dir] == "" {
			comments[dir] = parsed.Doc.Text()
		}
	}
	lines := map[string]string{}
	for dir, comment := range comments {
		if comment == "" {
			t.Errorf("appliance/%s has no package comment", dir)
		}
		sentence := new(doc.Package).Synopsis(comment)
		sentence, _, _ = strings.Cut(strings.TrimPrefix(sentence, "Package "+path.Base(dir)+" "), ": ")
		kind := "edge"
		switch {
		case slices.Contains(pure, dir):
			kind = "pure"
		}
		lines[dir] = fmt.Sprintf("| `%s` | %s | %s |\n", dir, kind, strings.TrimSuffix(strings.ReplaceAll(sentence, "|", `\|`), "."))
	}
	table := "| package | kind | what it does or is |\n|---|---|---|\n"
	for _, wing := range wings {
		for _, dir := range slices.Sorted(maps.Keys(lines)) {
			if under(dir, wing) {
				table += lines[dir]
			}
		}
	}
	return table
}

// TestThreats: every test and case named exists, and every attack class has a
// row.
func TestThreats(t *testing.T) {
	page := text(t, "docs/threats.md")
	name := regexp.MustCompile("`([a-z0-9_/]+_test\\.go):((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	named := 0
	for _, m := range name.FindAllStringSubmatch(page, -1) {
		named++
		data, err := os.ReadFile(filepath.Join(root, m[1]))
		if err != nil {
			t.Errorf("%s: %v", m[0], err)
		} else if !strings.Contains(string(data), "\nfunc "+m[2]+"(") {
			t.Errorf("%s is not there", m[0])
		}
	}
	if spoken := strings.Count(page, "_test.go:"); named != spoken {
		t.Errorf("%d tests are named, %d in a form that is checked: `file_test.go:TestName`", spoken, named)
	}
	// A case within a test is a string in one of the tests, or in what they share.
	var cases strings.Builder
	for _, name := range files(t, ".go") {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "tests/") {
			cases.WriteString(text(t, name))
		}
	}
	for _, m := range regexp.MustCompile("`(\"[^`]+\")`").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(cases.String(), m[1]) {
			t.Errorf("no test knows the case %s", m[1])
		}
	}
	for class := 1; class <= 15; class++ {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \|`, class)).MatchString(page) {
			t.Errorf("attack class %d has no row", class)
		}
	}
}

// TestMachines: tests/README.md names every end-to-end test, and no other.
func TestMachines(t *testing.T) {
	page := text(t, "tests/README.md")
	there := map[string]bool{}
	for _, name := range files(t, ".go") {
		if path.Dir(name) != "tests/machines" {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(t `).FindAllStringSubmatch(text(t, name), -1) {
			there[m[1]] = true
			if !strings.Contains(page, "`"+m[1]+"`") {
				t.Errorf("%s: tests/README.md does not name %s", name, m[1])
			}
		}
	}
	if len(there) == 0 {
		t.Fatal("no end-to-end test was read")
	}
	for _, m := range regexp.MustCompile("`(Test[A-Z]\\w*)`").FindAllStringSubmatch(page, -1) {
		if !there[m[1]] {
			t.Errorf("tests/README.md names %s, which is not there", m[1])
		}
	}
}

// TestCommands: every make target that a page speaks of exists.
func TestCommands(t *testing.T) {
	targets := map[string]bool{}
	for _, name := range append(files(t, ".mk"), "Makefile") {
		for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z -]*):`).FindAllStringSubmatch(text(t, name), -1) {
			for _, target := range strings.Fields(m[1]) {
				targets[target] = true
			}
		}
	}
	if !targets["demo"] || !targets["run"] || !targets["image"] {
		t.Fatalf("the targets were not read: %v", targets)
	}
	for _, page := range files(t, ".md") {
		for _, code := range codeOf(text(t, page)) {
			for _, m := range regexp.MustCompile(`(?m)(?:^|[\s;&])make ([a-z][a-z-]*)`).FindAllStringSubmatch(code, -1) {
				if !targets[m[1]] {
					t.Errorf("%s: there is no target %q", page, m[1])
				}
			}
		}
	}
}

// TestPaths: every path of the repository that a page links to or names exists.
func TestPaths(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	named := regexp.MustCompile(`^(?:appliance|docs|examples|images|init|kernel|packaging|programs|qemu|tests)/[\w./-]*$`)
	for _, page := range files(t, ".md") {
		content := text(t, page)
		check := func(name string) {
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s: %s is not there", page, name)
			}
		}
		for _, m := range link.FindAllStringSubmatch(content, -1) {
			if !strings.Contains(m[1], ":") { // not of the web
				check(path.Join(path.Dir(page), m[1]))
			}
		}
		for _, code := range codeOf(content) {
			if named.MatchString(code) {
				check(code)
			}
		}
	}
}

// TestWords: the settings and the codes that pages explain are those there are.
func TestWords(t *testing.T) {
	page := text(t, "docs/boot.md")
	known := map[string]bool{"phase.conf": true}
	for _, m := range regexp.MustCompile(`(?m)^\t"(phase\.[a-z_]+)": func`).FindAllStringSubmatch(text(t, "appliance/machine/settings/keys.go"), -1) {
		known[m[1]] = true
		if !strings.Contains(page, "`"+m[1]+"=") {
			t.Errorf("docs/boot.md does not explain %s", m[1])
		}
	}
	if len(known) < 5 {
		t.Fatalf("the settings were not read: %v", known)
	}
	for _, word := range regexp.MustCompile(`\bphase\.[a-z_]+`).FindAllString(page, -1) {
		if !known[word] {
			t.Errorf("docs/boot.md speaks of %s, which is no setting", word)
		}
	}
	codes := text(t, "docs/trust.md")
	for _, code := range refusal.Codes {
		if !strings.Contains(codes, "| `"+string(code)+"` |") {
			t.Errorf("docs/trust.md does not explain the code %s", code)
		}
	}
}

// codeOf are the pieces of a page written as code: between backquotes, and
// fenced.
func codeOf(markdown string) []string {
	var pieces []string
	fenced := regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```")
	for _, m := range fenced.FindAllStringSubmatch(markdown, -1) {
		pieces = append(pieces, m[1])
	}
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(fenced.ReplaceAllString(markdown, ""), -1) {
		pieces = append(pieces, m[1])
	}
	return pieces
}
