package program

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
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
	Port  int      `short:"p" default:"8080" range:"1-65535" help:"Port."`
	Name  string   `help:"Name."`
	Names []string `sep:"none" help:"Names."`
	Run   struct {
		Words []string `arg:"" passthrough:"" help:"Words."`
	} `cmd:"" help:"Run."`
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
		{"--port=x list", "", false, 2, "1 to 65535"},
		{"--port 0 list", "", false, 2, "1 to 65535"},
		{"--port -1 list", "", false, 2, "1 to 65535"},
		{"--port 65536 list", "", false, 2, "1 to 65535"},
		{"--port 99999999999999999999 list", "", false, 2, "1 to 65535"},
		{"--port 0x50 list", "", false, 2, "1 to 65535"},
		{"--name= list", "", false, 2, "is empty"},
	} {
		var cli testLine
		var out, errs bytes.Buffer
		command, err := Parse("test", "A test.", &cli, strings.Fields(c.args), &out, &errs)
		if code, _ := Code(err); command != c.command || code != c.code || errors.Is(err, ErrDone) != c.done {
			t.Errorf("Parse(%q) = %q, %v", c.args, command, err)
		}
		if said := out.String() + fmt.Sprint(err); !strings.Contains(said, c.out) {
			t.Errorf("Parse(%q) said %q, want %q", c.args, said, c.out)
		}
	}
}

// File names and arguments are bytes, not text.
func TestParseTakesBytes(t *testing.T) {
	var cli testLine
	args := []string{"--name", "\xff\xe9", "--names", "a,b\\,\xff", "run", "\xff", "", "--name=\xfe", "-x\xff"}
	if _, err := Parse("test", "A test.", &cli, args, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if cli.Name != args[1] || len(cli.Names) != 1 || cli.Names[0] != args[3] || !slices.Equal(cli.Run.Words, args[5:]) {
		t.Errorf("of %q came %q, %q and %q", args, cli.Name, cli.Names, cli.Run.Words)
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

// Names come out in their one form; the word of the default is one of them.
func TestParseTakesNames(t *testing.T) {
	for args, want := range map[string]string{
		"":                             "any ",
		"--arch amd64 --channel=any":   "any x86_64",
		"--channel nightly":            "nightly ",
		"--channel Stable":             `--channel: channel "Stable" is none of`,
		"--channel nightly --arch any": `--arch: arch "any" is none of`,
	} {
		var cli struct {
			Channel string `type:"channel" default:"any"`
			Arch    string `type:"arch"`
		}
		_, err := Parse("test", "A test.", &cli, strings.Fields(args), io.Discard, io.Discard)
		if code, _ := Code(err); err != nil && (code != 2 || !strings.Contains(err.Error(), want)) {
			t.Errorf("Parse(%q): %v, want %q", args, err, want)
		}
		if got := cli.Channel + " " + cli.Arch; err == nil && got != want {
			t.Errorf("Parse(%q) took %q, want %q", args, got, want)
		}
	}
}
