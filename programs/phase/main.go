// Phase is the one binary of a node: every program is linked into it once, and
// the name it is called by, or else its first argument, says which one runs.
package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"phase/appliance/base/program"
)

func main() { os.Exit(dispatch(os.Args, os.Stdout, os.Stderr)) }

// dispatch runs the program that args name and returns its exit code.
func dispatch(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		name := filepath.Base(args[0])
		if run, ok := programs[name]; ok {
			return program.Invoke(name, run, args[1:])
		}
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprint(stderr, usage())
		return 2
	}
	name := args[0]
	switch name {
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage())
		return 0
	case "--version":
		fmt.Fprintln(stdout, "phase", program.Version)
		return 0
	}
	run, ok := programs[name]
	if !ok {
		fmt.Fprintf(stderr, "phase: there is no program %q\n%s", name, usage())
		return 2
	}
	return program.Invoke(name, run, args[1:])
}

func usage() string {
	return "usage: phase PROGRAM [ARGS…], or a link to phase under the name of\n  " +
		strings.Join(slices.Sorted(maps.Keys(programs)), " ") + "\n"
}
