package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
)

// patience is how long one boot may take.
const patience = 5 * time.Minute

// bench is what the rounds share.
type bench struct {
	*lab.Upgrade
	memory   int
	firmware qemu.Firmware
	hello    string // disk
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var line struct {
		lab.Flags
		Rounds   int    `default:"5" help:"Boots of each image."`
		Memory   int    `default:"512" help:"Memory of the machine, MiB."`
		Firmware string `help:"bios or uefi (default: bios on x86_64, uefi on arm64)."`
	}
	if _, err := program.Parse("benchboot", "Time how a machine comes up, beside gokrazy's hello.", &line, args, stdout, stderr); err != nil {
		return err
	}
	if line.Rounds < 1 {
		return program.Usagef("--rounds: want at least 1")
	}
	upgrade, err := line.Upgrade(ctx, "bench-boot")
	if err != nil {
		return err
	}
	defer upgrade.Close()
	b := &bench{Upgrade: upgrade, memory: line.Memory, firmware: qemu.Firmware(line.Firmware)}
	fmt.Fprintf(stderr, "packing gokrazy's hello image for %s\n", b.Lab.Arch)
	if b.hello, err = buildHello(ctx, ".", b.Lab.Dir, b.Lab.Pieces.Kernel); err != nil {
		return err
	}
	var rounds []round
	for i := range line.Rounds {
		r, err := b.round(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w\nthe consoles are in %s", i+1, err, b.Logs)
		}
		fmt.Fprintf(stderr, "round %d of %d: hello %s, serving %s, answered %s\n", i+1, line.Rounds,
			ui.Duration(r.hello.power), ui.Duration(r.cold.power), ui.Duration(r.answered))
		rounds = append(rounds, r)
	}
	fmt.Fprintf(stdout, "\n%s, %d MiB, medians of %s\n\n", b.Lab.Arch, b.memory, ui.Count(len(rounds), "round"))
	return ui.Table(stdout, table(rounds))
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
	return lab.Start(ctx, b.Logs, qemu.Config{
		Name: name, Arch: b.Lab.Arch, Firmware: b.firmware, MemoryMB: b.memory,
		Disks: []qemu.Disk{{Path: disk}}, NICs: []qemu.NIC{{Segment: b.Segment}},
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
	return timesOf(first), err
}

// bootOurs boots the stub, and asks it until it answers.
func (b *bench) bootOurs(ctx context.Context, r *round) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := b.start(ctx, "phase", b.Old.Disk)
	if err != nil {
		return err
	}
	defer n.Close()
	watch, err := lab.WatchNode(ctx, n)
	if err != nil {
		return err
	}
	defer watch.Close()
	on := n.Console.Events()[0]
	first, err := watch.First(ctx, on.Host)
	if err != nil {
		return err
	}
	r.answered = first.Sub(on.Host)
	_, serving, err := n.Line(ctx, lab.Begin, lab.LineServing)
	r.cold = timesOf(serving)
	return err
}
