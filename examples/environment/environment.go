// Command environment prints what it was given: its arguments, one a line and
// quoted, and its environment, sorted. A module has nothing else: no folder,
// no network, no variable of the machine it runs on.
package main

import (
	"io"
	"os"
	"slices"
	"strconv"
)

func main() {
	if err := list(os.Stdout, os.Args[1:], os.Environ()); err != nil {
		os.Exit(1)
	}
}

func list(to io.Writer, args, env []string) error {
	var text string
	for i, arg := range args {
		text += "argument " + strconv.Itoa(i+1) + " " + strconv.Quote(arg) + "\n"
	}
	for _, v := range slices.Sorted(slices.Values(env)) {
		text += "variable " + strconv.Quote(v) + "\n"
	}
	_, err := io.WriteString(to, text)
	return err
}
