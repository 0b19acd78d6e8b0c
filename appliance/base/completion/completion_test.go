package completion

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"phase/appliance/base/program"
)

type testLine struct {
	List struct {
		Wide bool   `help:"More columns."`
		Kind string `arg:"" enum:"all,new" help:"Which."`
	} `cmd:"" help:"List what's there."`
	Secret struct{} `cmd:"" hidden:"" help:"Not shown."`
	Quiet  bool     `help:"Say less."`
}

// TestBash: the words of a command line are those of the commands before it. Bash
// itself is asked, where there is one.
func TestBash(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	var script strings.Builder
	if err := Write(&script, "prog", &testLine{}, "bash"); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"prog ":           "list --help --quiet --version",
		"prog l":          "list",
		"prog --q":        "--quiet",
		"prog list ":      "all new --wide --help --quiet --version",
		"prog list n":     "new",
		"prog --quiet li": "list",
		"prog sec":        "",
	} {
		words := strings.Split(line, " ")
		cmd := exec.Command("bash", "-c", script.String()+`
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _prog; echo "${COMPREPLY[*]}"`, "bash")
		cmd.Args = append(cmd.Args, words...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q is completed by %q, %v; want %q", line, got, err, want)
		}
	}
}

// TestShells: each shell has a script that holds the commands and flags and no
// hidden one; another is an error of the command line.
func TestShells(t *testing.T) {
	for shell := range shells {
		var script strings.Builder
		if err := Write(&script, "prog", &testLine{}, shell); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"list", "wide", "quiet", "version"} {
			if !strings.Contains(script.String(), want) {
				t.Errorf("%s: %q is not completed", shell, want)
			}
		}
		if strings.Contains(script.String(), "secret") {
			t.Errorf("%s: a hidden command is shown", shell)
		}
	}
	err := Write(io.Discard, "prog", &testLine{}, "csh")
	if code, _ := program.Code(err); code != 2 {
		t.Errorf("csh: %v", err)
	}
}
