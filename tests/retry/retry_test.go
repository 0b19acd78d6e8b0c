package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// once is a test body that fails the first time it runs.
const once = `if _, err := os.Stat("was.here"); err != nil { os.WriteFile("was.here", nil, 0o600); `

// module makes a module with one package of tests and enters it.
func module(t *testing.T, tests string) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"go.mod":        "module example\n\ngo 1.26\n",
		"tests_test.go": "package example\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Args\n\nfunc TestFine(*testing.T) {}\n\n" + tests,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetry(t *testing.T) {
	for _, c := range []struct {
		name, tests string
		flaky       string // what the list holds at the end
		fails       string // the error, if there is one
	}{
		{"good", "", "", ""},
		{"fails once", "func TestOnce(t *testing.T) { " + once + "t.Error(1) } }", "example.TestOnce\n", ""},
		{"a part fails once", "func TestPart(t *testing.T) { t.Run(\"of it\", func(t *testing.T) { " + once + "t.Error(1) } }) }", "example.TestPart\n", ""},
		{"panics once", "func TestPanic(*testing.T) { " + once + "panic(1) } }", "example.TestPanic\n", ""},
		{"fails beside one that fails once", "func TestBad(t *testing.T) { t.Error(1) }\nfunc TestOnce(t *testing.T) { " + once + "t.Error(1) } }", "", "failed twice"},
		{"fails", "func TestBad(t *testing.T) { t.Error(1) }", "", "failed twice"},
		{"fails outside a test", "func TestMain(m *testing.M) { m.Run(); os.Exit(1) }", "", "not by a test"},
		{"exits in a test", "func TestExit(*testing.T) { " + once + "os.Exit(3) } }", "", "not by a test"},
		{"a race", "func TestRace(t *testing.T) { " + once + "t.Log(\"x\\nWARNING: DATA RACE\"); os.Stdout.WriteString(\"WARNING: DATA RACE\\n\"); t.Error(1) } }", "", "not by a test"},
		{"is no Go", "func TestSyntax(", "", "go test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			module(t, c.tests)
			var out, errs bytes.Buffer
			err := run(t.Context(), []string{"flaky", "-timeout=5m", "."}, nil, &out, &errs)
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("%v, want %q\n%s%s", err, c.fails, &out, &errs)
			}
			list, _ := os.ReadFile("flaky") // not there when nothing was flaky
			if string(list) != c.flaky {
				t.Errorf("the list says %q, want %q\n%s", list, c.flaky, &out)
			}
			if c.fails == "" && !strings.Contains(out.String(), "\nok  \texample") && !strings.HasPrefix(out.String(), "ok  \texample") {
				t.Errorf("the line of go test is missing: %s", &out)
			}
		})
	}
}

// TestOutput: of good tests only -v shows the output.
func TestOutput(t *testing.T) {
	module(t, "func TestTells(t *testing.T) { t.Log(\"a word\") }")
	for flag, shown := range map[string]bool{"-v": true, "-timeout=5m": false} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), []string{"flaky", flag, "."}, nil, &out, &errs); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "a word") != shown {
			t.Errorf("%s: %s", flag, &out)
		}
	}
	if err := run(t.Context(), []string{"-v", "."}, nil, nil, nil); err == nil {
		t.Error("without a file")
	}
}
