package docs

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commandLine is what a program can be called with, by its manual page.
type commandLine struct{ commands, flags map[string]bool }

func commandLineOf(t *testing.T, name string) commandLine {
	t.Helper()
	said, err := exec.Command(filepath.Join(bin(t), name), "--man", name).Output()
	if err != nil {
		t.Fatalf("%s --man: %v", name, err)
	}
	c := commandLine{map[string]bool{}, map[string]bool{}}
	page := plain(string(said))
	for _, m := range regexp.MustCompile(`(?m)^\.SS ([a-z-]+)`).FindAllStringSubmatch(page, -1) {
		c.commands[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^\.B .*?(--[a-z][a-z0-9-]*)`).FindAllStringSubmatch(page, -1) {
		c.flags[m[1]] = true
	}
	return c
}

// called is a call of a program within a piece of code, up to what ends it.
var called = regexp.MustCompile("(?:^|[ /(`])(plasmd|images|fetch|verify|discover) ([^|;&#`\n]+)")

// TestFlags: the commands and flags that pages name are those that the programs have.
func TestFlags(t *testing.T) {
	programs := map[string]commandLine{}
	for _, name := range []string{"plasmd", "images", "fetch", "verify", "discover"} {
		programs[name] = commandLineOf(t, name)
	}
	calls := 0
	for page, text := range pagesOf(t) {
		if decision(page) {
			continue
		}
		pieces := code.FindAllString(prose(text), -1)
		for _, b := range blocks(page, text) {
			if b.lang == commandsOfShell || b.lang == terminal {
				pieces = append(pieces, strings.Split(comment.ReplaceAllString(strings.ReplaceAll(b.text, "\\\n", " "), ""), "\n")...)
			}
		}
		for _, piece := range pieces {
			for _, m := range called.FindAllStringSubmatch(strings.Trim(piece, "`"), -1) {
				calls++
				if problem := programs[m[1]].unknown(m[2]); problem != "" {
					t.Errorf("%s: %s: %s has no %s", page, strings.TrimSpace(piece), m[1], problem)
				}
			}
		}
	}
	if calls < 50 {
		t.Errorf("only %d calls were read", calls)
	}
}

// unknown is what a program does not have of what follows its name, "" for nothing.
func (c commandLine) unknown(rest string) string {
	words := strings.Fields(rest)
	if len(words) == 0 {
		return ""
	}
	if len(c.commands) > 0 && regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(words[0]) && !c.commands[words[0]] {
		return "command " + words[0]
	}
	for _, word := range words {
		if word == "--" {
			break
		}
		if flag := regexp.MustCompile(`^\[?(--[a-z][a-z0-9-]*)`).FindStringSubmatch(word); flag != nil && !c.flags[flag[1]] {
			return "flag " + flag[1]
		}
	}
	return ""
}

// TestUnknown: a command or a flag that is not there is seen.
func TestUnknown(t *testing.T) {
	c := commandLine{map[string]bool{"run": true}, map[string]bool{"--quiet": true}}
	for rest, ok := range map[string]bool{
		"run --quiet x.wasm": true, "run [--quiet] x": true, "RUN": true, "run -- --loud": true,
		"walk": false, "run --loud": false, "run [--loud]": false,
	} {
		if problem := c.unknown(rest); (problem == "") != ok {
			t.Errorf("%q: %q", rest, problem)
		}
	}
}
