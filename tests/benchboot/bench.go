package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
)

// The releases that a machine boots, and jumps into.
const (
	oldVersion = 1
	newVersion = 2
)

// patience is how long one boot or one jump may take.
const patience = 5 * time.Minute

// bench is what the rounds share.
type bench struct {
	lab      *lab.Lab
	segment  *qemu.Segment
	provider *lab.Provider
	logs     string
	memory   int
	firmware qemu.Firmware

	hello string // disk
	stub  lab.Release
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var line struct {
		Arch     string `default:"x86_64" help:"Which machine: x86_64 or arm64."`
		Build    string `default:"build" help:"Folder that make image filled."`
		Rounds   int    `default:"5" help:"Boots of each image."`
		Memory   int    `default:"512" help:"Memory of the machine, MiB."`
		Firmware string `help:"bios or uefi (default: bios on x86_64, uefi on arm64)."`
	}
	if _, err := program.Parse("benchboot", "Time how a machine comes up, beside gokrazy's hello.", &line, args, stdout, stderr); err != nil {
		return err
	}
	arch, err := names.ParseArch(line.Arch)
	if err != nil {
		return err
	}
	if line.Rounds < 1 {
		return program.Usagef("--rounds: want at least 1")
	}
	b := &bench{logs: filepath.Join(line.Build, "bench-boot"), memory: line.Memory, firmware: qemu.Firmware(line.Firmware)}
	if b.lab, err = lab.Open(line.Build, filepath.Join(b.logs, "disks"), arch); err != nil {
		return err
	}
	defer b.lab.Clean()
	fmt.Fprintf(stderr, "packing gokrazy's hello image for %s\n", arch)
	if b.hello, err = buildHello(ctx, ".", b.lab.Dir, b.lab.Pieces.Kernel); err != nil {
		return err
	}
	if err := b.provide(ctx); err != nil {
		return err
	}
	defer b.segment.Close()
	defer b.provider.Close()

	var rounds []round
	for i := range line.Rounds {
		r, err := b.round(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w\nthe consoles are in %s", i+1, err, b.logs)
		}
		fmt.Fprintf(stderr, "round %d of %d: hello %s, serving %s, answered %s, jump %s\n", i+1, line.Rounds,
			ui.Duration(r.hello.power), ui.Duration(r.cold.power), ui.Duration(r.answered), ui.Duration(r.jump))
		rounds = append(rounds, r)
	}
	fmt.Fprintf(stdout, "\n%s, %d MiB, medians of %s\n\n", arch, b.memory, ui.Count(len(rounds), "round"))
	return ui.Table(stdout, table(rounds))
}

// provide signs the two releases and serves the newer one from the segment's
// own port, so that one machine runs at a time.
func (b *bench) provide(ctx context.Context) (err error) {
	newer, err := b.lab.Release(ctx, newVersion, lab.NoDisk)
	if err != nil {
		return err
	}
	if b.segment, err = qemu.NewSegment(); err != nil {
		return err
	}
	if b.provider, err = lab.Provide(ctx, b.segment, newer); err != nil {
		return err
	}
	b.stub, err = b.lab.Release(ctx, oldVersion, lab.Conf(b.provider.Setting))
	return err
}

// round boots each image once.
func (b *bench) round(ctx context.Context) (r round, err error) {
	if r.hello, err = b.bootHello(ctx); err != nil {
		return r, fmt.Errorf("gokrazy's hello: %w", err)
	}
	if err = b.bootOurs(ctx, &r); err != nil {
		return r, fmt.Errorf("our image: %w", err)
	}
	return r, nil
}

func (b *bench) start(ctx context.Context, name, disk string) (*lab.Node, error) {
	return lab.Start(ctx, b.logs, qemu.Config{
		Name: name, Arch: b.lab.Arch, Firmware: b.firmware, MemoryMB: b.memory,
		Disks: []qemu.Disk{{Path: disk}}, NICs: []qemu.NIC{{Segment: b.segment}},
	})
}

func (b *bench) bootHello(ctx context.Context) (times, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := b.start(ctx, "hello", b.hello)
	if err != nil {
		return times{}, err
	}
	defer n.Close()
	_, first, err := n.Line(ctx, lab.Begin, helloLine)
	return timesOf(n.Console.Events(), first), err
}

// bootOurs boots the stub, which is the cold boot, and lets it jump into the
// newer release.
func (b *bench) bootOurs(ctx context.Context, r *round) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := b.start(ctx, "phase", b.stub.Disk)
	if err != nil {
		return err
	}
	defer n.Close()
	on := n.Console.Events()[0]
	answer := make(chan error, 1)
	go func() {
		err := answered(ctx, n)
		r.answered = time.Since(on.Host)
		answer <- err
	}()
	_, serving, err := n.Line(ctx, lab.Begin, lab.LineServing)
	if err != nil {
		return err
	}
	r.cold = timesOf(n.Console.Events(), serving)
	if err := <-answer; err != nil {
		return err
	}
	jump, again, err := n.Jumped(ctx, serving, newVersion)
	if err != nil {
		return err
	}
	_, stopping, err := n.Line(ctx, jump, lineStopping)
	if err != nil {
		return err
	}
	_, leave, err := n.Line(ctx, stopping, lineLeave)
	if err != nil {
		return err
	}
	r.jump, r.jumpKernel = again.Host.Sub(stopping.Host), again.Kernel
	r.stop = leave.Host.Sub(stopping.Host)
	r.between = clockZero(n.Console.Events()[leave.Index+1:again.Index+1]) - leave.After
	return nil
}

// answered asks the node again and again until it answers. A try is short: one
// that waits for an address nobody has yet would wait longer than the boot.
func answered(ctx context.Context, n *lab.Node) error {
	try := func() error {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL()+"/", nil)
		if err != nil {
			return err
		}
		resp, err := n.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("asking the node over the segment: %w", err)
		case <-pace.C:
		}
	}
}
