package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/tool"
	"phase/appliance/base/ui"
	"phase/images"
	"phase/qemu"
	"phase/tests/lab"
)

// patience is how long one boot or one jump may take.
const patience = 10 * time.Minute

// stickBytes is a disk with room for three releases.
const stickBytes = 1 << 30

// bench is what the rounds share.
type bench struct {
	*lab.Upgrade
	memory   int
	firmware qemu.Firmware
	log      io.Writer
	stick    string // a node that was started once and switched off: what it keeps is laid and grown
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var line struct {
		lab.Flags
		Rounds   int    `default:"3" help:"Updates, each with the boots beside it."`
		Memory   int    `default:"512" help:"Memory of the machine, MiB."`
		Firmware string `help:"bios or uefi (default: bios on x86_64, uefi on arm64)."`
		Detail   bool   `help:"Let the kernel tell more on the console, which takes time of its own."`
		JSON     bool   `name:"json" help:"Print JSON."`
	}
	if _, err := program.Parse("benchupdate", "Time an update beside a cold boot.", &line, args, stdout, stderr); err != nil {
		return err
	}
	if line.Rounds < 1 {
		return program.Usagef("--rounds: want at least 1")
	}
	upgrade, err := line.Upgrade(ctx, "bench-update", func(s *images.Spec) {
		if line.Detail {
			s.Pieces.Kernel.Options += " loglevel=7"
		}
	})
	if err != nil {
		return err
	}
	defer upgrade.Close()
	b := &bench{Upgrade: upgrade, memory: line.Memory, firmware: qemu.Firmware(line.Firmware), log: stderr}
	a, err := b.measure(ctx, line.Rounds)
	if err != nil {
		err = fmt.Errorf("%w\nthe consoles are in %s", err, b.Logs)
	}
	if len(a.Rounds) == 0 {
		return err
	}
	// What was measured before something failed is still told.
	if line.JSON {
		return errors.Join(program.PrintJSON(stdout, a), err)
	}
	return errors.Join(a.print(stdout), err)
}

// measure lets the rounds follow each other, and then measures the room on the disk.
func (b *bench) measure(ctx context.Context, rounds int) (a answer, err error) {
	a.Arch, a.MemoryMB, a.Load = b.Lab.Arch, b.memory, load()
	fmt.Fprintf(b.log, "starting a node for the first time\n")
	if err := b.prepare(ctx); err != nil {
		return a, err
	}
	for i := range rounds {
		r, err := b.round(ctx)
		if err != nil {
			return a, fmt.Errorf("round %d: %w", i+1, err)
		}
		fmt.Fprintf(b.log, "round %d of %d: cold %s, update %s, from the store %s, staying %s; load %s\n", i+1, rounds,
			ui.Duration(r.Cold.Total), ui.Duration(r.Jump.Total), ui.Duration(r.Stored.Total), ui.Duration(r.Stay.Total), load())
		a.Rounds = append(a.Rounds, r)
	}
	a.Load = load()
	fmt.Fprintf(b.log, "filling a store with three releases\n")
	full, err := b.measureRoom(ctx)
	if err != nil {
		return a, fmt.Errorf("a store with three releases: %w", err)
	}
	a.Room = &full
	return a, nil
}

func (a answer) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s, %d MiB, medians of %s, load of this host %s\n\n", a.Arch, a.MemoryMB, ui.Count(len(a.Rounds), "round"), a.Load)
	err := ui.Table(w, table(a.Rounds))
	if a.Room != nil {
		fmt.Fprintf(w, "\n%s\n", a.Room)
	}
	return err
}

// load is what else this host has to do: the load averages, or that they are not known.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(data)); err == nil && len(f) > 3 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

// answer is what --json prints.
type answer struct {
	Arch     string  `json:"arch"`
	MemoryMB int     `json:"memory_mb"`
	Load     string  `json:"load"`
	Rounds   []round `json:"rounds"`
	Room     *room   `json:"room"` // nil when it failed
}

// round is one update and the boots beside it.
type round struct {
	Cold   start `json:"cold"`   // the stub, nothing in its store
	Jump   start `json:"jump"`   // from the last answer of the stub to the first of the newer release
	Stored start `json:"stored"` // power on, to the first answer of the newer release in the store
	Stay   start `json:"stay"`   // the stub, with a store of which it takes nothing
}

// conf puts settings on the boot partition of the stick. A node never writes that, so
// the overlays of the machines do not hide it.
func (b *bench) conf(ctx context.Context, settings string) error {
	return lab.WriteConf(ctx, b.stick, fmt.Appendf(nil, "%-4096s", settings+"\n"))
}

func (b *bench) overlay() string { return filepath.Join(b.Lab.Dir, "overlay.qcow2") }

func (b *bench) start(ctx context.Context, name string) (*lab.Node, error) {
	if err := os.RemoveAll(b.overlay()); err != nil {
		return nil, err
	}
	return lab.Start(ctx, b.Logs, qemu.Config{
		Name: name, Arch: b.Lab.Arch, Firmware: b.firmware, MemoryMB: b.memory,
		Disks: []qemu.Disk{{Path: b.stick, Overlay: b.overlay()}}, NICs: []qemu.NIC{{Segment: b.Segment}},
	})
}

// prepare lets a node start once, without an update: what happens the first time alone
// is no part of what is timed.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.stick, err = b.Lab.Stick(ctx, b.Old, stickBytes); err != nil {
		return err
	}
	if err := b.conf(ctx, "phase.update=off"); err != nil {
		return err
	}
	n, err := b.start(ctx, "first")
	if err != nil {
		return err
	}
	defer n.Close()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := n.Up(within, lab.Begin, lab.OldVersion); err != nil {
		return err
	}
	if err := b.switchOff(ctx, n); err != nil {
		return err
	}
	settled := filepath.Join(b.Lab.Dir, "settled.img")
	if err := b.flatten(ctx, settled); err != nil {
		return err
	}
	b.stick = settled
	return nil
}

// flatten writes the disk of the machine, which is off, to a file.
func (b *bench) flatten(ctx context.Context, to string) error {
	_, err := tool.Command{Name: "qemu-img", Args: []string{"convert", "-O", "raw", b.overlay(), to}}.Run(ctx)
	return err
}

// switchOff presses the power button and waits until the machine is off, its disk at rest.
func (b *bench) switchOff(ctx context.Context, n *lab.Node) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.PowerButton(ctx); err != nil {
		return err
	}
	return n.Wait(ctx)
}

// round lets one node start, update, and start twice more.
func (b *bench) round(ctx context.Context) (r round, err error) {
	if err := b.conf(ctx, b.Provider.Setting); err != nil {
		return r, err
	}
	n, err := b.start(ctx, "node")
	if err != nil {
		return r, err
	}
	defer n.Close()
	watch, err := lab.WatchNode(ctx, n)
	if err != nil {
		return r, err
	}
	defer watch.Close()
	if r.Cold, err = b.boot(ctx, n, watch, n.Console.Events()[0]); err != nil {
		return r, fmt.Errorf("the cold boot: %w", err)
	}
	if r.Jump, err = b.jump(ctx, n, watch); err != nil {
		return r, fmt.Errorf("the update: %w", err)
	}
	if r.Stored, err = b.again(ctx, n, watch, b.Provider.Setting); err != nil {
		return r, fmt.Errorf("the start from the store: %w", err)
	}
	if err := b.good(ctx, n); err != nil {
		return r, err
	}
	if r.Stay, err = b.again(ctx, n, watch, "phase.channel=testing"); err != nil {
		return r, fmt.Errorf("the start that stays: %w", err)
	}
	return r, nil
}

// boot times a start from power on to the first answer.
func (b *bench) boot(ctx context.Context, n *lab.Node, watch *lab.Watch, on qemu.Event) (start, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	first, err := watch.First(ctx, on.Host)
	if err != nil {
		return start{}, err
	}
	return startOf(n.Console.Events()[on.Index:], on.Host, first), nil
}

// jump times the update, which begins by itself, and waits until the newer release is good.
func (b *bench) jump(ctx context.Context, n *lab.Node, watch *lab.Watch) (s start, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, stopping, err := n.Line(ctx, lab.Begin, lineStopping)
	if err != nil {
		return s, err
	}
	_, leave, err := n.Line(ctx, stopping, lineLeave)
	if err != nil {
		return s, err
	}
	first, err := watch.First(ctx, leave.Host)
	if err != nil {
		return s, err
	}
	s = startOf(n.Console.Events()[stopping.Index:], watch.Last(leave.Host), first)
	if _, err := n.Up(ctx, leave, lab.NewVersion); err != nil {
		return s, err
	}
	return s, b.good(ctx, n)
}

// good waits until the release that runs since the latest jump is good.
func (b *bench) good(ctx context.Context, n *lab.Node) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var leave qemu.Event
	for _, e := range n.Console.Events() {
		if regexp.MustCompile(lineLeave).MatchString(e.Text) {
			leave = e
		}
	}
	_, _, err := n.Line(ctx, leave, lineGood)
	return err
}

// again switches a node off and on, with other settings.
func (b *bench) again(ctx context.Context, n *lab.Node, watch *lab.Watch, conf string) (s start, err error) {
	if err := b.switchOff(ctx, n); err != nil {
		return s, err
	}
	if err := b.conf(ctx, conf); err != nil {
		return s, err
	}
	before := n.Console.Last()
	if err := n.PowerOn(ctx); err != nil {
		return s, err
	}
	on, err := n.Console.WaitKind(ctx, before, qemu.PowerOn)
	if err != nil {
		return s, err
	}
	return b.boot(ctx, n, watch, on)
}
