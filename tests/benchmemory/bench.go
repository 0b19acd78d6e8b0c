package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
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

// patience is how long the loop may take in one machine; one that thrashes is
// not one that works.
const patience = 4 * time.Minute

// stickBytes is the size of the disk, small for a stick of today.
const stickBytes = 4 << 30

// aims of the project, MiB.
var aims = map[string]struct{ disk, bare int }{
	"x86_64": {320, 320},
	"arm64":  {320, 448},
}

type bench struct {
	lab      *lab.Lab
	segment  *qemu.Segment
	provider *lab.Provider
	logs     string
	log      io.Writer

	stick string // disk of the older release
	bare  lab.Bare
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var line struct {
		Arch  string `default:"x86_64" help:"Which machine: x86_64 or arm64."`
		Build string `default:"build" help:"Folder that make image filled."`
		Only  string `default:"both" enum:"both,disk,diskless" help:"Which machine: disk, diskless or both."`
	}
	if _, err := program.Parse("benchmemory", "Find the least memory in which the loop works.", &line, args, stdout, stderr); err != nil {
		return err
	}
	arch, err := names.ParseArch(line.Arch)
	if err != nil {
		return err
	}
	b := &bench{logs: filepath.Join(line.Build, "bench-memory"), log: stderr}
	if b.lab, err = lab.Open(line.Build, filepath.Join(b.logs, "disks"), arch); err != nil {
		return err
	}
	defer b.lab.Clean()
	if b.segment, err = qemu.NewSegment(); err != nil {
		return err
	}
	defer b.segment.Close()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer b.provider.Close()

	aim := aims[arch]
	rows := [][]string{{"MACHINE", "LEAST", "AIM", "", "WITH 32 MiB LESS"}}
	for _, m := range []struct {
		name, what string
		aim        int
		config     qemu.Config
	}{
		{"disk", "with a disk", aim.disk, qemu.Config{Disks: []qemu.Disk{{Path: b.stick}}}},
		{"diskless", "without a disk", aim.bare, b.bare.Config(qemu.Config{})},
	} {
		if line.Only != "both" && line.Only != m.name {
			continue
		}
		f, err := search(m.aim, func(mib int) (outcome, error) {
			c := m.config
			c.Name, c.MemoryMB = fmt.Sprintf("%s-%s-%d", arch, m.name, mib), mib
			return b.loop(ctx, c)
		})
		if err != nil {
			return fmt.Errorf("%s %s %w\nthe consoles are in %s", arch, m.what, err, b.logs)
		}
		rows = append(rows, row(arch+" "+m.what, f, m.aim))
	}
	fmt.Fprintln(stdout)
	return ui.Table(stdout, rows)
}

func row(what string, f found, aim int) []string {
	least, verdict := fmt.Sprintf("%d MiB", f.least), "met"
	switch {
	case f.least == 0:
		least, verdict = fmt.Sprintf("over %d MiB", most), "missed"
	case f.least > aim:
		verdict = "missed"
	}
	return []string{what, least, fmt.Sprintf("≤ %d MiB", aim), verdict, f.below}
}

// prepare makes the releases and lays the older one out on a disk and without.
func (b *bench) prepare(ctx context.Context) error {
	newer, err := b.lab.Release(ctx, newVersion, lab.NoDisk)
	if err != nil {
		return err
	}
	if b.provider, err = lab.Provide(ctx, b.segment, newer); err != nil {
		return err
	}
	stub, err := b.lab.Release(ctx, oldVersion, lab.Conf(b.provider.Setting))
	if err != nil {
		return err
	}
	if b.stick, err = b.lab.Stick(ctx, stub, stickBytes); err != nil {
		return err
	}
	b.bare, err = b.lab.Bare(stub, b.provider.Setting)
	return err
}

// loop lets one machine go once round.
func (b *bench) loop(ctx context.Context, c qemu.Config) (outcome, error) {
	fmt.Fprintf(b.log, "%s: ", c.Name)
	began := time.Now()
	c.Arch, c.NICs = b.lab.Arch, []qemu.NIC{{Segment: b.segment}}
	n, err := lab.Start(ctx, b.logs, c)
	if err != nil {
		return outcome{}, err
	}
	defer n.Close()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	failed := b.watch(within, cancel, n)
	_, _, err = n.Jumped(within, lab.Begin, newVersion)
	if err == nil {
		err = b.serves(within, n)
	}
	o := outcome{worked: err == nil}
	if err != nil {
		if ctx.Err() != nil {
			return o, ctx.Err()
		}
		o.why = why(err, failed)
	}
	fmt.Fprintf(b.log, "%s, after %s\n", map[bool]string{true: "works", false: o.why}[o.worked], ui.Duration(time.Since(began)))
	return o, nil
}

// serves checks over HTTP that the machine is what its console says.
func (b *bench) serves(ctx context.Context, n *lab.Node) error {
	s, err := n.Status(ctx)
	if err != nil {
		return err
	}
	if s.Release.Version != newVersion {
		return fmt.Errorf("it answers that it runs version %d", s.Release.Version)
	}
	return nil
}

// ends are console lines after which the loop will not be closed any more.
var ends = regexp.MustCompile(`Kernel panic|Out of memory|update: .*was not taken: |update: .*no updates: |restarting through the firmware`)

// watch ends the wait for a machine that has failed, and says why it has.
func (b *bench) watch(ctx context.Context, cancel func(), n *lab.Node) <-chan string {
	failed := make(chan string, 1)
	go func() {
		e, err := n.Console.WaitFunc(ctx, lab.Begin, "a failure", func(e qemu.Event) bool {
			return e.Kind == qemu.Reset || e.Kind == qemu.Shutdown || e.Kind == qemu.Stopped || e.Kind == qemu.Line && ends.MatchString(e.Text)
		})
		if err != nil {
			return // it succeeded, or time is up
		}
		text := e.Text
		if _, reason, ok := strings.Cut(text, "was not taken: "); ok {
			text = "refused: " + reason
		}
		if e.Kind != qemu.Line {
			text = fmt.Sprintf("%s (%s)", e.Kind, e.Text)
		}
		failed <- text
		cancel()
	}()
	return failed
}

func why(err error, failed <-chan string) string {
	select {
	case text := <-failed:
		return ui.Clean(text)
	default:
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "not done in " + ui.Duration(patience)
	}
	return ui.Clean(err.Error())
}
