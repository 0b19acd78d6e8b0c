package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// figure is what was measured, by its looks: a number with a fraction and a unit, or so
	// many minutes or MB, in words.
	figure = regexp.MustCompile(`\d[.,]\d+ ?(?:s|ms|µs|MB|MiB|GiB|GB|kB|min|×)\b|\babout (?:\w+ )?(?:a |\d+ |one |two |three |four |five |ten )(?:minutes?|seconds?|MB|MiB)|\b\d+ minutes\b`)
	// source is what a part of a page says of its figures: <!-- figures: make bench -->,
	// or the file of the code in which a limit stands.
	source = regexp.MustCompile(`<!-- figures: (.*?) -->`)
	target = regexp.MustCompile(`^make ([a-z][a-z-]*)(?: [A-Z]+=\S+)*$`)
)

// TestFigures: a part of a page that has figures names the target of make that prints
// them, or the file that they are limits of.
func TestFigures(t *testing.T) {
	targets := targetsOf(t)
	for page, text := range pagesOf(t) {
		if decision(page) || strings.HasPrefix(page, reference+"/") {
			continue
		}
		for _, part := range parts(text) {
			if problem := judge(part, targets); problem != "" {
				t.Errorf("%s: %s", page, problem)
			}
		}
	}
}

// parts are the pieces of a page from one heading to the next.
func parts(text string) (list []string) {
	from := 0
	clear := prose(text)
	lines, clearLines := strings.SplitAfter(text, "\n"), strings.SplitAfter(clear, "\n")
	for i := range lines {
		if i > from && i < len(clearLines) && heading.MatchString(strings.TrimSuffix(clearLines[i], "\n")) {
			list, from = append(list, strings.Join(lines[from:i], "")), i
		}
	}
	return append(list, strings.Join(lines[from:], ""))
}

// judge says what is wrong with the figures of a part, "" for nothing.
func judge(part string, targets map[string]bool) string {
	said := source.FindAllStringSubmatch(part, -1)
	found := figure.FindString(source.ReplaceAllString(part, ""))
	title, _, _ := strings.Cut(part, "\n")
	switch {
	case found == "" && len(said) > 0:
		return fmt.Sprintf("%q: names the source of figures and has none", title)
	case found != "" && len(said) == 0:
		return fmt.Sprintf("%q: the figure %q has no source: <!-- figures: make TARGET --> or the file it is a limit of", title, found)
	}
	for _, m := range said {
		for _, name := range strings.Split(m[1], ", ") {
			if made := target.FindStringSubmatch(name); made != nil && targets[made[1]] {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				return fmt.Sprintf("%q: figures of %q: there is no such target or file", title, name)
			}
		}
	}
	return ""
}

// TestJudge: what is wrong with figures is seen.
func TestJudge(t *testing.T) {
	targets := map[string]bool{"bench": true}
	for part, ok := range map[string]bool{
		"# A\nat most 64 MiB and 30 s\n":                                         true,
		"# A\n<!-- figures: make bench ROUNDS=3 -->\nit takes 1.5 s\n":           true,
		"# A\n<!-- figures: make bench, README_test.go -->\n1.5 s, 20 minutes\n": false,
		"# A\n<!-- figures: tests/docs/figures_test.go -->\nafter 0.5 s\n":       true,
		"# A\nit takes 1.5 s\n":                                                  false,
		"# A\nit takes about three minutes\n":                                    false,
		"# A\nwithin 85 minutes\n":                                               false,
		"# A\n47.4 MB\n":                                                         false,
		"# A\n<!-- figures: make nothing -->\nit takes 1.5 s\n":                  false,
		"# A\n<!-- figures: make bench -->\nit takes a while\n":                  false,
	} {
		if problem := judge(part, targets); (problem == "") != ok {
			t.Errorf("%q: %q", part, problem)
		}
	}
	if list := parts("a\n# B\n```\n# c\n```\n## D\ne\n"); len(list) != 3 || list[2] != "## D\ne\n" {
		t.Errorf("the parts are %q", list)
	}
}
