package main

import (
	"context"
	"fmt"

	"phase/qemu"
	"phase/tests/lab"
)

// The releases of the stories: the stub on a stick, the one A brings along, and
// the one nobody the nodes know has signed.
const (
	stubVersion   = 1
	newVersion    = 2
	forgedVersion = 3
)

// chain is the story of machines that boot from each other.
type chain struct {
	*stage
	segment *qemu.Segment

	stub, next, forged lab.Release
	a, b, c, forger    *lab.Node
	idC                lab.Identity
}

func (d *chain) story() []step {
	return []step{
		{"sign release 2, put stub release 1 on the sticks", d.assemble},
		{"A boots release 2 from its disk and serves it", d.bootA},
		{"a stranger joins with a forged release 3", d.bootForger},
		{"B boots stub 1, a whole node by itself", d.bootB},
		{"B names the stranger and refuses it", func(ctx context.Context) (string, error) { return d.refuses(ctx, d.b) }},
		{"B finds release 2 on A, fetches and verifies it", func(ctx context.Context) (string, error) { return d.fetches(ctx, d.b, d.a) }},
		{"B jumps: release 2 runs in RAM and is served on", func(ctx context.Context) (string, error) { _, s, err := d.jumps(ctx, d.b, d.next); return s, err }},
		{"A is switched off", d.offA},
		{"C boots stub 1", d.bootC},
		{"C finds release 2 on B, fetches and verifies it", func(ctx context.Context) (string, error) { return d.fetches(ctx, d.c, d.b) }},
		{"C jumps into release 2", d.jumpC},
		{"C runs hello.wasm for us", d.job},
		{"the receipt is C's: its key is on C's console", d.verify},
	}
}

func playChain(ctx context.Context, s *stage) error {
	d := &chain{stage: s}
	var err error
	if d.segment, err = qemu.NewSegment(); err != nil {
		return err
	}
	defer d.segment.Close()
	return s.play(ctx, fmt.Sprintf("Phase on %s: four machines of %d MiB, one segment, no server", s.lab.Arch, s.memory), d.story())
}
