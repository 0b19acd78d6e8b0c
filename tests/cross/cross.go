package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/qemu"
	"phase/tests/lab"
)

// jobs are what both machines are asked to do.
var jobs = []struct {
	module, input string
	args          []string
	env           map[string]string
}{
	{module: "hello", input: "esahP olleh"},
	{module: "primes", args: []string{"2000000"}},
	{module: "environment", args: []string{"one", "zwei", "三"}, env: map[string]string{"WHERE": "anywhere"}},
}

var arches = []string{qemu.X86_64, qemu.ARM64}

// patience bounds one step; an emulated machine compiles a Go module for half
// a minute.
const patience = 5 * time.Minute

func run(ctx context.Context, args []string, _ io.Reader, stdout, _ io.Writer) error {
	var line struct {
		Build string `default:"build" help:"Folder that make image filled, for both arches."`
	}
	if _, err := program.Parse("cross", "Show that a job is the same job on both architectures.", &line, args, stdout, stdout); err != nil {
		return err
	}
	segment, err := qemu.NewSegment()
	if err != nil {
		return err
	}
	defer segment.Close()
	nodes := map[string]*lab.Node{}
	ids := map[string]lab.Identity{}
	for _, arch := range arches {
		node, err := boot(ctx, segment, line.Build, arch)
		if err != nil {
			return err
		}
		defer node.Close()
		nodes[arch] = node
	}
	for _, arch := range arches {
		if ids[arch], err = ready(ctx, nodes[arch]); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s is up: %s\n", arch, ids[arch].Peer)
	}
	rows := [][]string{{"MODULE", "DIGEST OF ITS OUTPUT", arches[0], arches[1]}}
	for _, j := range jobs {
		module, err := os.ReadFile(filepath.Join(line.Build, "examples", j.module+".wasm"))
		if err != nil {
			return fmt.Errorf("%w; run `make examples` first", err)
		}
		row := []string{j.module, ""}
		var digests []string
		for _, arch := range arches {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			answer, err := nodes[arch].Job(ctx, ids[arch].Token, module, j.input, func(want *job.Job) {
				want.Args, want.Env, want.TimeoutSeconds = j.args, j.env, int(patience.Seconds())
			})
			if err != nil {
				return fmt.Errorf("%s on %s: %w", j.module, arch, err)
			}
			digest, took, err := signed(answer, ids[arch].Peer)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", j.module, arch, err)
			}
			digests, row = append(digests, digest), append(row, ui.Duration(took))
		}
		if row[1] = digests[0]; len(slices.Compact(digests)) != 1 {
			return fmt.Errorf("%s: the outputs differ: %v", j.module, digests)
		}
		rows = append(rows, row)
	}
	if err := ui.Table(stdout, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "\nEach output is the same on both; each digest is from a receipt that the machine's own key signed.")
	return err
}

func boot(ctx context.Context, segment *qemu.Segment, build, arch string) (*lab.Node, error) {
	return lab.Start(ctx, filepath.Join(build, "cross"), qemu.Config{
		Name: arch, Arch: arch, NICs: []qemu.NIC{{Segment: segment}},
		Disks: []qemu.Disk{{Path: filepath.Join(build, "phase-"+arch+".img")}},
	})
}

// ready waits until a node answers, and returns what it said of itself.
func ready(ctx context.Context, n *lab.Node) (id lab.Identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, want := range []struct {
		pattern string
		into    *string
	}{{lab.LinePeer, &id.Peer}, {lab.LineToken, &id.Token}} {
		groups, _, err := n.Line(ctx, lab.Begin, want.pattern)
		if err != nil {
			return id, err
		}
		*want.into = groups[0]
	}
	_, _, err = n.Line(ctx, lab.Begin, lab.LineServing)
	return id, err
}

// signed checks an answer's receipt against the peer that was asked, and that
// it speaks of the output that came; it returns the output's digest.
func signed(a lab.Answer, peer string) (digest string, took time.Duration, err error) {
	key, err := identity.ParsePeerID(peer)
	if err != nil {
		return "", 0, err
	}
	statement, err := receipt.Verify(a.Receipt, receipt.Pin{PeerID: peer, Key: key})
	if err != nil {
		return "", 0, err
	}
	if err := statement.CheckStdout(sha256.Sum256(a.Stdout)); err != nil {
		return "", 0, err
	}
	if p := statement.Predicate; p.Outcome != job.Exited || p.ExitCode != 0 {
		return "", 0, fmt.Errorf("it ended as %s with exit code %d: %s", p.Outcome, p.ExitCode, a.Stderr)
	}
	return job.Hash(a.Stdout), time.Duration(statement.Predicate.WallTimeMS) * time.Millisecond, nil
}
