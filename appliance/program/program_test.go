package program

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestCode(t *testing.T) {
	for _, c := range []struct {
		err   error
		code  int
		print bool
	}{
		{nil, 0, false},
		{ErrDone, 0, false},
		{errors.New("no"), 1, true},
		{Usagef("no %d", 1), 2, true},
		{fmt.Errorf("reading: %w", Usagef("no")), 2, true},
		{Exit{137}, 137, false},
	} {
		if code, print := Code(c.err); code != c.code || print != c.print {
			t.Errorf("Code(%v) = %d, %v; want %d, %v", c.err, code, print, c.code, c.print)
		}
	}
}

type testLine struct {
	List struct {
		Wide bool `short:"w" help:"More columns."`
	} `cmd:"" help:"List."`
	Port int `short:"p" default:"8080" help:"Port."`
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args    string
		command string
		done    bool
		code    int
		out     string
	}{
		{"list -w", "list", false, 0, ""},
		{"--help", "", true, 0, "Usage: test"},
		{"list --help", "", true, 0, "More columns"},
		{"--version", "", true, 0, "test devel"},
		{"", "", false, 2, ""},
		{"list --nothing", "", false, 2, ""},
		{"--port=x list", "", false, 2, ""},
	} {
		var cli testLine
		var out, errs bytes.Buffer
		command, err := Parse("test", "A test.", &cli, strings.Fields(c.args), &out, &errs)
		if code, _ := Code(err); command != c.command || code != c.code || errors.Is(err, ErrDone) != c.done {
			t.Errorf("Parse(%q) = %q, %v", c.args, command, err)
		}
		if !strings.Contains(out.String(), c.out) {
			t.Errorf("Parse(%q) printed %q, want %q", c.args, out.String(), c.out)
		}
	}
}

func TestLogKeepsControlCharactersOut(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(NewHandler(&b)).With("a", 1).WithGroup("g")
	log.Warn("from \x1b[31moutside\n", "path", "x\r\ny", "n", 3)
	if got, want := b.String(), "warn: from  [31moutside  a=1 g.path=\"x  y\" g.n=3\n"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}
