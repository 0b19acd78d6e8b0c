package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each fenced piece says what it is behind the fence, and of commands (sh, and what a
// terminal showed, console) the comment before it says how it is known that they
// work:
//
//	<!-- shell: run NAME -->             it is run here, behind others of the page with that name
//	<!-- shell: start NAME until "RE" --> the same, for a program that goes on: until it says so
//	<!-- shell: by FILE, FILE:TestName -->  these have each of its commands, by its words
//	<!-- shell: make -->                 there are such targets of make, which take too long for here
//
// A page with <!-- commands: run by FILE --> is read by that script, which runs all of it.
// <!-- setup NAME: and lines of commands --> are run too, and not shown: what came before.
const (
	commandsOfShell = "sh"
	terminal        = "console"
)

// TestBlocks: no piece of a page is without its kind, and no commands without what
// shows that they work.
func TestBlocks(t *testing.T) {
	targets := targetsOf(t)
	for page, text := range pagesOf(t) {
		if decision(page) {
			continue
		}
		if m := wholePage.FindStringSubmatch(text); m != nil {
			if script, err := os.ReadFile(filepath.Join(root, m[1])); err != nil || !strings.Contains(string(script), page) {
				t.Errorf("%s: %s does not read it (%v)", page, m[1], err)
			}
			continue
		}
		for _, b := range blocks(page, text) {
			if problem := b.wrong(targets); problem != "" {
				t.Errorf("%s:%d: %s", b.page, b.line, problem)
			}
		}
		if marks, marked := strings.Count(text, "<!-- shell: "), 0; marks > 0 {
			for _, b := range blocks(page, text) {
				if b.mark != "" {
					marked++
				}
			}
			if marks != marked {
				t.Errorf("%s: %d comments <!-- shell: … -->, %d of them before a block", page, marks, marked)
			}
		}
	}
}

var wholePage = regexp.MustCompile(`(?m)^<!-- commands: run by (\S+) -->$`)

var (
	aims   = regexp.MustCompile(`^make ([a-z][a-z-]*)(?: +[A-Z]+=(?:\S+|"[^"]*"))*$`)
	runs   = regexp.MustCompile(`^(run) ([a-z-]+)$`)
	starts = regexp.MustCompile(`^(start) ([a-z-]+) until "(.+)"$`)
)

// wrong says what is wrong with a block, "" for nothing.
func (b block) wrong(targets map[string]bool) string {
	switch b.lang {
	case "":
		return "the block does not say what it is: sh, console, text, json, go, php, toml"
	case commandsOfShell, terminal:
	default:
		return ""
	}
	files, shown := strings.CutPrefix(b.mark, "by ")
	switch {
	case b.mark == "":
		return "nothing says how it is known that these commands work: <!-- shell: … -->, see tests/docs/blocks_test.go"
	case shown:
		return b.shownBy(strings.Split(files, ", "))
	case b.mark == "make":
		return b.targets(targets)
	case b.lang == terminal:
		return "what a terminal shows is not run: <!-- shell: by … -->"
	case runs.MatchString(b.mark), starts.MatchString(b.mark):
		return ""
	}
	return "unknown: <!-- shell: " + b.mark + " -->"
}

// targets says which line is something else than a target of make.
func (b block) targets(targets map[string]bool) string {
	for line := range strings.Lines(comment.ReplaceAllString(b.text, "")) {
		line = strings.TrimSpace(line)
		if m := aims.FindStringSubmatch(line); line != "" && (m == nil || !targets[m[1]]) {
			return line + " is no target of make"
		}
	}
	return ""
}

// shownBy says which of the commands is in none of the files.
func (b block) shownBy(files []string) string {
	var all strings.Builder
	for _, name := range files {
		file, test, named := strings.Cut(name, ":")
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return err.Error()
		}
		if named && !strings.Contains(string(text), "\nfunc "+test+"(") {
			return file + " has no " + test
		}
		all.Write(text)
	}
	words := b.words()
	if len(words) == 0 {
		return "there are no commands in it"
	}
	for _, word := range words {
		if !regexp.MustCompile(`(?:^|[^\w-])` + regexp.QuoteMeta(word) + `(?:$|[^\w-])`).MatchString(all.String()) {
			return "the command " + word + " is in none of " + strings.Join(files, ", ")
		}
	}
	return ""
}

// subcommands are programs that are told apart by what follows them.
var subcommands = []string{"make", "plasmd", "images", "systemctl", "apt"}

var (
	comment = regexp.MustCompile(`(?m)(?:^|\s)#.*$`)
	ahead   = regexp.MustCompile(`^(?:sudo |[a-z]+\$ +|\$ |export |do |for .*|done$|[A-Z_]+=\S* )+`)
	goTest  = regexp.MustCompile(`^go test \S+ -run (\w+)`)
	goRun   = regexp.MustCompile(`^go run \./(\S+)`)
)

// words are those by which the commands of a block are found: of `make demo` the word
// demo, of `plasmd update hold` both, of go test the test, else the program.
func (b block) words() (list []string) {
	text := comment.ReplaceAllString(strings.ReplaceAll(b.text, "\\\n", " "), "")
	for _, line := range regexp.MustCompile(`\n|&&|\||;`).Split(text, -1) {
		line = strings.TrimSpace(line)
		if b.lang == terminal && !strings.Contains(line, "$ ") {
			continue // what it answers
		}
		fields := strings.Fields(ahead.ReplaceAllString(line, ""))
		if len(fields) == 0 {
			continue
		}
		program := filepath.Base(fields[0])
		test, run := goTest.FindStringSubmatch(line), goRun.FindStringSubmatch(line)
		switch {
		case test != nil:
			list = append(list, test[1])
		case run != nil:
			list = append(list, run[1])
		case slices.Contains(subcommands, program):
			for _, word := range fields[1:] {
				if !regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(word) {
					break
				}
				list = append(list, word)
			}
		default:
			list = append(list, program)
		}
	}
	return list
}

// TestWrong: what is wrong with a block is seen.
func TestWrong(t *testing.T) {
	const here = "by tests/docs/blocks_test.go"
	for _, c := range []struct {
		lang, mark, text string
		ok               bool
	}{
		{"text", "", "anything\n", true},
		{"", "", "anything\n", false},
		{"sh", "", "true\n", false},
		{"sh", "run it", "true\n", true},
		{"sh", `start it until "^on$"`, "true\n", true},
		{"sh", "start it", "true\n", false},
		{"sh", "runs it", "true\n", false},
		{"console", "run it", "$ true\n", false},
		{"console", here, "$ plasmd update hold\nhold-on\n", true},
		{"sh", here, "make demo    # make no" + "target\nsudo apt install ./x.deb\nalice$ images sign --key k\n", true},
		{"sh", here, "make demo && make no" + "target\n", false},
		{"sh", here + ":TestWrong", "go test ./tests/docs -run TestWrong\n", true},
		{"sh", here + ":TestNo" + "target", "make demo\n", false},
		{"sh", "by tests/docs/none_test.go", "make demo\n", false},
		{"sh", here, "# nothing\n", false},
		{"sh", "make", "make demo N=1 A=\"b c\"  # so\n\nmake demo\n", true},
		{"sh", "make", "make other\n", false},
		{"sh", "make", "true\n", false},
	} {
		if problem := (block{lang: c.lang, mark: c.mark, text: c.text}).wrong(map[string]bool{"demo": true}); (problem == "") != c.ok {
			t.Errorf("%s, %s: %q: %q", c.lang, c.mark, c.text, problem)
		}
	}
}
