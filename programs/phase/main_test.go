package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestDispatch(t *testing.T) {
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"nothing", []string{"phase"}, 2, "", "usage: phase PROGRAM"},
		{"help", []string{"phase", "--help"}, 0, "verify", ""},
		{"version", []string{"phase", "--version"}, 0, "phase devel", ""},
		{"no such program", []string{"/bin/phase", "nonsense"}, 2, "", `no program "nonsense"`},
		{"first argument", []string{"phase", "verify", "--no-such-flag"}, 2, "", ""},
		{"own name", []string{"/user/verify", "--no-such-flag"}, 2, "", ""},
	} {
		var stdout, stderr bytes.Buffer
		if code := dispatch(c.args, &stdout, &stderr); code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, code, c.code)
		}
		if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%s: said %q and %q", c.name, &stdout, &stderr)
		}
	}
}

// Every folder of programs/ but this one is a program that can be called.
func TestEveryProgramIsLinked(t *testing.T) {
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if _, ok := programs[f.Name()]; f.IsDir() && f.Name() != "phase" && !ok {
			t.Errorf("programs/%s is not in the table", f.Name())
		}
	}
}
