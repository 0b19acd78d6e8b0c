// Command demo shows what Phase is for, in machines that boot: one brings the
// next up, and is not needed any more; or nodes on two networks find each other
// and work for each other. It ends with an error at the first thing that did not
// happen.
package main

import (
	"context"
	"io"

	"phase/appliance/base/program"
	"phase/tests/lab"
	"phase/tests/netlab"
)

func main() {
	netlab.BecomePlugged()
	program.Main("demo", run)
}

type commandLine struct {
	lab.Flags
	Memory int    `default:"512" help:"Memory of each machine, MiB."`
	Story  string `arg:"" optional:"" enum:"chain,net" default:"chain" help:"chain: machines boot from each other; net: nodes on two networks work for each other."`
}

// stories are what can be watched: the folder of the consoles, and the story.
var stories = map[string]struct {
	folder string
	play   func(context.Context, *stage) error
}{"chain": {"demo", playChain}, "net": {"demo-net", playNet}}

func run(ctx context.Context, args []string, _ io.Reader, stdout, _ io.Writer) error {
	var line commandLine
	if _, err := program.Parse("demo", "Watch machines boot from each other, and work for each other.", &line, args, stdout, stdout); err != nil {
		return err
	}
	story := stories[line.Story]
	s, err := line.stage(ctx, newTeller(stdout), story.folder)
	if err != nil {
		return err
	}
	defer s.close()
	return story.play(ctx, s)
}
