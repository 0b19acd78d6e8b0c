package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"phase/appliance/machine/linux"
	"phase/appliance/machine/prompt"
	"phase/appliance/machine/settings"
)

// TestAskMode: a digit chooses its mode, Enter and the end of the time leave what the
// settings say, and the console says each time which mode it is, and why.
func TestAskMode(t *testing.T) {
	for _, c := range []struct {
		typed string
		want  settings.Mode
		says  string
	}{
		{"1", settings.Internet, "mode internet was chosen at keyboard, for this boot"},
		{"x2", settings.Local, "mode local was chosen at keyboard, for this boot"},
		{"\x1b[2~3", settings.Private, "mode private was chosen at keyboard, for this boot"},
		{"\r", "", "mode private was confirmed at keyboard"},
		{"", "", "no mode was chosen; mode private holds"},
	} {
		n := newTestNode(t)
		if c.typed == "" {
			n.clock = n.time // on which the seconds pass at once
		}
		var said []string
		n.report.line = func(_ linux.Priority, _, text string) { said = append(said, text) }
		keys, keyboard, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer keys.Close()
		if _, err := keyboard.WriteString(c.typed); err != nil {
			t.Fatal(err)
		}
		got := n.askMode(settings.Options{Mode: settings.Private, Menu: 3600}, []prompt.Console{named{keys}})
		if got != c.want || len(said) != 2 || !strings.Contains(said[0], "mode private holds on Enter, and in 3600 s") || said[1] != c.says {
			t.Errorf("typed %q: %q, %q", c.typed, got, said)
		}
		keyboard.Close()
	}
}

// named is a console of its own name.
type named struct{ *os.File }

func (named) Name() string { return "/dev/keyboard" }

// TestAskNobody: where there is no console the settings hold, and it is a problem.
func TestAskNobody(t *testing.T) {
	n := newTestNode(t)
	if got := n.askMode(settings.Options{Mode: settings.Local, Menu: 5}, nil); got != "" || !slices.Equal(n.report.problems, []string{"there is no console to ask for the mode; mode local holds"}) {
		t.Errorf("%q, problems %q", got, n.report.problems)
	}
}

// TestModeBeforeAll: nothing that a mode decides is done before it is known.
func TestModeBeforeAll(t *testing.T) {
	at := func(name string) int { return slices.IndexFunc(steps, func(s step) bool { return s.name == name }) }
	for _, later := range []string{"wired interfaces", "persistent partition", "state", "newest release", "services"} {
		if mode, then := at("settings"), at(later); mode < 0 || then < mode {
			t.Errorf("the mode is known at step %d, %q is step %d", mode, later, then)
		}
	}
}
