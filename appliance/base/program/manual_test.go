package program

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// The page has all that the help texts say, and nothing that the formatter would
// take for a request of its own.
func TestManual(t *testing.T) {
	var cli struct {
		testLine
		Kept   string `help:"A \\ back-slash." placeholder:"TEXT"`
		Secret bool   `hidden:"" help:"Not told."`
	}
	var out bytes.Buffer
	if _, err := Parse("test", ".A test. It tests.", &cli, []string{"--man", "phase test"}, &out, io.Discard); !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	page := out.String()
	for _, want := range []string{
		".TH PHASE\\-TEST 1 ", "phase\\-test \\- ", ".B phase test\nCOMMAND [OPTIONS]\n", "\n\\&.A test. It tests.\n",
		".SS list [OPTIONS]\nList.\n", "\n.B \\-w, \\-\\-wide\nMore columns.\n", ".SS run [OPTIONS] <words> ...\n", "\n.B \\-\\-kept=TEXT\nA \\e back\\-slash.\n",
		"\n.B \\-\\-version\nPrint the version and exit.\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "ecret") {
		t.Error("the page names a hidden flag")
	}
}

// A program with one command has it in its page.
func TestManualOfOneCommand(t *testing.T) {
	var cli struct {
		Only struct {
			Wide bool `help:"More columns."`
		} `cmd:"" help:"Do it."`
	}
	var out bytes.Buffer
	if _, err := Parse("test", "A test.", &cli, []string{"--man", "test"}, &out, io.Discard); !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), ".SS only [OPTIONS]\nDo it.\n") {
		t.Errorf("the page does not have the command:\n%s", out.String())
	}
}
