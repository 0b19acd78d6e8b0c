package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pagesOf are all pages of the repository, by slash path.
func pagesOf(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "build" || d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		found[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 50 {
		t.Fatalf("only %d pages were read", len(found))
	}
	return found
}

// decision says whether a page is a note of a day: it tells what was, and is not
// kept true.
func decision(page string) bool {
	return strings.HasPrefix(page, "docs/decisions/") || page == "CHANGELOG.md"
}

// block is a fenced piece of a page.
type block struct {
	page string
	line int    // of the fence
	lang string // the first word behind the fence
	mark string // of the comment <!-- shell: … --> before it
	text string
}

var (
	fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")
	mark  = regexp.MustCompile(`<!-- shell: (.*) -->\n+$`)
)

// blocks are the fenced pieces of a page, in order.
func blocks(page, text string) []block {
	var list []block
	for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
		b := block{page: page, line: 1 + strings.Count(text[:m[0]], "\n"), text: text[m[4]:m[5]]}
		b.lang, _, _ = strings.Cut(text[m[2]:m[3]], " ")
		if found := mark.FindStringSubmatch(text[:m[0]]); found != nil {
			b.mark = found[1]
		}
		list = append(list, b)
	}
	return list
}

// prose is a page without its fenced pieces, whose lines stay as empty ones.
func prose(text string) string {
	return fence.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
}

var heading = regexp.MustCompile(`(?m)^(#{1,6}) +(.*?) *#*$`)

// anchors are the names by which a link finds the headings of a page.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose(text), -1) {
		name := anchor(m[2])
		for n := 1; found[name]; n++ {
			name = anchor(m[2]) + "-" + string(rune('0'+n))
		}
		found[name] = true
	}
	return found
}

// anchor is how a heading is called: lower case, without what is neither letter,
// digit, - nor _, and a - for each space.
func anchor(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(heading, " ", "-")
}
