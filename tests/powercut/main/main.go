// Command main cuts the power of whole machines at random points, again and
// again, and prints what became of them. A cut that a node did not survive whole
// is replayed with its seed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/tests/lab"
	"phase/tests/powercut"
)

func main() { program.Main("powercut", run) }

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var line struct {
		lab.Flags
		N      int    `short:"n" default:"20" help:"Power cuts; each node has three."`
		Seed   uint64 `default:"0" help:"Seed of the first node; the others follow it. 0: any."`
		AtOnce int    `default:"2" help:"Machines beside each other."`
		Lie    bool   `help:"Let the disks forget flushes, which must end in failures: it shows that this rig sees them."`
	}
	if _, err := program.Parse("powercut", "Cut the power of whole machines.", &line, args, stdout, stderr); err != nil {
		return err
	}
	if line.N < 1 {
		return program.Usagef("--n: want at least 1")
	}
	if line.Seed == 0 {
		line.Seed = 1 + rand.Uint64N(1<<32)
	}
	arch, err := names.ParseArch(line.Arch)
	if err != nil {
		return err
	}
	nodes := (line.N + powercut.CutsPerNode - 1) / powercut.CutsPerNode
	logs := filepath.Join(line.Build, "powercut")
	c := &powercut.Campaign{Logs: logs, Log: stderr, Nodes: nodes, Seed: line.Seed, AtOnce: line.AtOnce, Lie: line.Lie}
	if c.Lab, err = lab.Open(line.Build, filepath.Join(logs, "disks"), arch); err != nil {
		return err
	}
	defer func() { _ = c.Lab.Clean() }() // what is left over is in build/, which git ignores
	fmt.Fprintf(stderr, "%s, the first with SEED=%d\n", ui.Count(nodes, "node"), line.Seed)
	results, err := c.Run(ctx)
	// One that is ended early has shown something, too.
	fmt.Fprintln(stdout)
	if err := errors.Join(err, ui.Table(stdout, powercut.Table(results))); err != nil {
		return fmt.Errorf("%w\nthe consoles are in %s", err, logs)
	}
	bad := 0
	for _, r := range results {
		if !r.Good() {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%s broken; replay each with make test-powercut N=1 SEED=…; the consoles are in %s", ui.Count(bad, "node"), logs)
	}
	return nil
}
