package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
)

// The releases of the story: the stub on every stick, the one A brings along,
// and the one nobody the nodes know has signed.
const (
	stubVersion   = 1
	newVersion    = 2
	forgedVersion = 3
)

// patience is how long one step may take before the demo calls it not happened.
const patience = 4 * time.Minute

// demo is the stage: what the steps of the story share.
type demo struct {
	*teller
	life    context.Context // of the machines, which outlive the step that boots them
	lab     *lab.Lab
	segment *qemu.Segment
	dir     string // consoles and what came back
	plasmd  string
	wasm    string
	memory  int

	stub, next, forged lab.Release
	a, b, c, forger    *lab.Node
	idC                lab.Identity
}

// step is one sentence of the story, and what makes it true.
type step struct {
	what string
	do   func(*demo, context.Context) (detail string, err error)
}

var story = []step{
	{"sign release 2, put stub release 1 on the sticks", (*demo).assemble},
	{"A boots release 2 from its disk and serves it", (*demo).bootA},
	{"a stranger joins with a forged release 3", (*demo).bootForger},
	{"B boots stub 1, a whole node by itself", (*demo).bootB},
	{"B names the stranger and refuses it", func(d *demo, ctx context.Context) (string, error) { return d.refuses(ctx, d.b) }},
	{"B finds release 2 on A, fetches and verifies it", func(d *demo, ctx context.Context) (string, error) { return d.fetches(ctx, d.b, d.a) }},
	{"B jumps: release 2 runs in RAM and is served on", func(d *demo, ctx context.Context) (string, error) { _, s, err := d.jumps(ctx, d.b); return s, err }},
	{"A is switched off", (*demo).offA},
	{"C boots stub 1", (*demo).bootC},
	{"C finds release 2 on B, fetches and verifies it", func(d *demo, ctx context.Context) (string, error) { return d.fetches(ctx, d.c, d.b) }},
	{"C jumps into release 2", (*demo).jumpC},
	{"C runs hello.wasm for us", (*demo).job},
	{"the receipt is C's: its key is on C's console", (*demo).verify},
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, _ io.Writer) error {
	var line struct {
		lab.Flags
		Memory int `default:"512" help:"Memory of each machine, MiB."`
	}
	if _, err := program.Parse("demo", "Watch machines boot from each other.", &line, args, stdout, stdout); err != nil {
		return err
	}
	arch, err := names.ParseArch(line.Arch)
	if err != nil {
		return err
	}
	d := &demo{
		life:   ctx,
		teller: newTeller(stdout),
		dir:    filepath.Join(line.Build, "demo"),
		plasmd: filepath.Join(line.Build, "bin", "plasmd"),
		wasm:   filepath.Join(line.Build, "examples", "hello.wasm"),
		memory: line.Memory,
	}
	if d.lab, err = lab.Open(line.Build, filepath.Join(d.dir, "disks"), arch); err != nil {
		return err
	}
	defer d.lab.Clean()
	if d.segment, err = qemu.NewSegment(); err != nil {
		return err
	}
	defer d.segment.Close()
	defer d.off()

	d.title(fmt.Sprintf("Phase on %s: four machines of %d MiB, one segment, no server", arch, d.memory))
	for _, s := range story {
		if err := d.tell(ctx, s, func(ctx context.Context) (string, error) { return s.do(d, ctx) }); err != nil {
			return fmt.Errorf("%s: %w\nthe consoles are in %s", s.what, err, d.dir)
		}
	}
	return d.summary(d.dir)
}

// off ends every machine that is still on.
func (d *demo) off() {
	for _, n := range []*lab.Node{d.a, d.b, d.c, d.forger} {
		if n != nil {
			_ = n.Close() // the story is over; what is left has no say in it
		}
	}
}

func (d *demo) boot(name, disk string) (*lab.Node, error) {
	return lab.Start(d.life, d.dir, qemu.Config{
		Name: name, Arch: d.lab.Arch, MemoryMB: d.memory,
		Disks: []qemu.Disk{{Path: disk}}, NICs: []qemu.NIC{{Segment: d.segment}},
	})
}

func took(d time.Duration) string { return ui.Duration(d) }
