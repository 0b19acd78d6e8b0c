package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	inline = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	code   = regexp.MustCompile("`[^`\n]*`")
)

// TestLinks: every link leads to a file of the repository, and to a heading in it
// where it names one. What is elsewhere is not asked.
func TestLinks(t *testing.T) {
	pages, links := pagesOf(t), 0
	for page, text := range pages {
		for _, m := range inline.FindAllStringSubmatch(code.ReplaceAllString(prose(text), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			if problem := follow(page, m[1], pages); problem != "" {
				t.Errorf("%s: the link %s: %s", page, m[1], problem)
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were read", links)
	}
}

// follow says what is wrong with a link of a page, "" for nothing.
func follow(page, link string, pages map[string]string) string {
	file, name, named := strings.Cut(link, "#")
	to := page
	if file != "" {
		to = path.Join(path.Dir(page), file)
	}
	if to == ".." || strings.HasPrefix(to, "../") {
		return "it leads out of the repository"
	}
	if _, err := os.Stat(filepath.Join(root, to)); err != nil {
		return to + " is not there"
	}
	if named && !anchors(pages[to])[name] {
		return to + " has no such heading"
	}
	return ""
}

// TestFollow: what is wrong with a link is seen.
func TestFollow(t *testing.T) {
	pages := map[string]string{"docs/boot.md": "# A\n\n```\n# Fenced\n```\n\n## What is in it, and `who` built [it](x)?\n\n## A\n"}
	for link, ok := range map[string]bool{
		"boot.md": true, "boot.md#a": true, "#a": true, "#a-1": true, "boot.md#what-is-in-it-and-who-built-it": true, "../LICENSE": true, "decisions": true,
		"bot.md": false, "#b": false, "boot.md#A": false, "#fenced": false, "../../LICENSE": false, "../LICENSE#a": false,
	} {
		if problem := follow("docs/boot.md", link, pages); (problem == "") != ok {
			t.Errorf("%s: %q", link, problem)
		}
	}
}

// TestReached: every page is linked from another one, so that a reader finds it.
func TestReached(t *testing.T) {
	pages, reached := pagesOf(t), map[string]bool{"README.md": true}
	for page, text := range pages {
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			file, _, _ := strings.Cut(m[1], "#")
			if to := path.Join(path.Dir(page), file); file != "" && to != page {
				reached[to] = true
			}
		}
	}
	for page := range pages {
		if !decision(page) && !reached[page] && !reached[path.Dir(page)] {
			t.Errorf("no page links to %s", page)
		}
	}
}

// TestFirstScreen: the first page is enough to start without scrolling on and on.
func TestFirstScreen(t *testing.T) {
	before, _, found := strings.Cut(pagesOf(t)["README.md"], "\n## Read on\n")
	if lines := 1 + strings.Count(before, "\n"); !found || lines > 60 {
		t.Errorf("README.md has %d lines before \"Read on\", at most 60 may be there", lines)
	}
}
