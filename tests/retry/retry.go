package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"phase/appliance/base/program"
)

// run is the program: retry FILE -FLAG=VALUE… PACKAGE…, flags and packages as
// go test takes them. FILE gets a line for each test that was flaky.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	first := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if first != 0 {
		return program.Usagef("retry FILE -FLAG=VALUE… PACKAGE…")
	}
	list, args := args[0], args[1:]
	flags := args[:max(0, slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") }))]
	failed, err := goTest(ctx, args, stdout, stderr)
	if err == nil || len(failed) == 0 {
		return err
	}
	var flaky strings.Builder
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		tests, whole := failed[name].again()
		if len(tests) == 0 {
			problems = append(problems, fmt.Errorf("%s failed, and not by a test that can run again: %w", name, err))
			continue
		}
		fmt.Fprintf(stdout, "=== once more: %s %s\n", name, strings.Join(tests, " "))
		again := append(slices.Clone(flags), "-count=1")
		if !whole {
			again = append(again, "-run=^("+strings.Join(tests, "|")+")$")
		}
		if _, err := goTest(ctx, append(again, name), stdout, stderr); err != nil {
			problems = append(problems, fmt.Errorf("%s failed twice: %w", name, err))
			continue
		}
		for _, test := range tests {
			fmt.Fprintf(&flaky, "%s.%s\n", name, test)
		}
	}
	if flaky.Len() > 0 {
		fmt.Fprint(stdout, "=== FLAKY, these passed only when they ran again:\n", flaky.String())
		problems = append(problems, note(list, flaky.String()))
	}
	return errors.Join(problems...)
}

// note adds text to the list of what was flaky.
func note(list, text string) error {
	f, err := os.OpenFile(list, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("noting what was flaky: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// failure is how a package failed.
type failure struct {
	tests []string // the top-level tests that failed, in the order of their ends
	panic bool     // it ended early, and the tests behind were not run
	race  bool
}

// again says which tests may run a second time, and whether their whole package
// must. A race stays a race; a package that fails outside its tests, or was
// not built, has nothing to run again.
func (f *failure) again() (tests []string, whole bool) {
	if f.race {
		return nil, false
	}
	return f.tests, f.panic
}

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
}

// goTest runs go test and returns the packages that failed. It prints what go
// test prints: with -v everything, else a line a package and the output of
// tests that failed.
func goTest(ctx context.Context, args []string, stdout, stderr io.Writer) (map[string]*failure, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting go test: %w", err)
	}
	failed, readErr := read(out, slices.Contains(args, "-v"), stdout)
	_, _ = io.Copy(io.Discard, out) // so that it ends
	if err := cmd.Wait(); err != nil {
		return failed, fmt.Errorf("go test: %w", err)
	}
	return failed, readErr
}

func read(out io.Reader, verbose bool, stdout io.Writer) (map[string]*failure, error) {
	packages, failed := map[string]*failure{}, map[string]*failure{}
	said := map[string]*strings.Builder{} // of tests that have not ended
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return failed, nil
		}
		if err != nil {
			return failed, fmt.Errorf("reading what go test prints: %w", err)
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			fmt.Fprint(stdout, line) // not of a test
			continue
		}
		p := packages[e.Package]
		if p == nil {
			p = &failure{}
			packages[e.Package] = p
		}
		top, _, _ := strings.Cut(e.Test, "/")
		id := e.Package + " " + top
		switch e.Action {
		case "output", "build-output":
			p.panic = p.panic || strings.HasPrefix(e.Output, "panic: ")
			p.race = p.race || strings.HasPrefix(e.Output, "WARNING: DATA RACE")
			switch {
			case verbose || e.Test == "" && e.Output != "PASS\n":
				fmt.Fprint(stdout, e.Output)
			case e.Test != "":
				if said[id] == nil {
					said[id] = &strings.Builder{}
				}
				said[id].WriteString(e.Output)
			}
		case "fail":
			if e.Test == "" {
				failed[e.Package] = p
			} else if e.Test == top {
				p.tests = append(p.tests, top)
			}
		}
		if e.Test == top && top != "" && slices.Contains([]string{"pass", "skip", "fail"}, e.Action) {
			if text := said[id]; text != nil && e.Action == "fail" {
				fmt.Fprint(stdout, text.String())
			}
			delete(said, id)
		}
	}
}
