package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
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
	*lab.Upgrade
	log io.Writer
}

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var line struct {
		lab.Flags
		Only string `default:"both" enum:"both,disk,diskless" help:"Which machine: disk, diskless or both."`
	}
	if _, err := program.Parse("benchmemory", "Find the least memory in which the loop works.", &line, args, stdout, stderr); err != nil {
		return err
	}
	upgrade, err := line.Upgrade(ctx, "bench-memory")
	if err != nil {
		return err
	}
	defer upgrade.Close()
	b := &bench{upgrade, stderr}
	stick, err := b.Lab.Stick(ctx, b.Old, stickBytes)
	if err != nil {
		return err
	}
	bare, err := b.Lab.Bare(b.Old, b.Provider.Setting)
	if err != nil {
		return err
	}

	arch := b.Lab.Arch
	aim := aims[arch]
	rows := [][]string{{"MACHINE", "LEAST", "AIM", "", "WITH 32 MiB LESS"}}
	for _, m := range []struct {
		name, what string
		aim        int
		config     qemu.Config
	}{
		{"disk", "with a disk", aim.disk, qemu.Config{Disks: []qemu.Disk{{Path: stick}}}},
		{"diskless", "without a disk", aim.bare, bare.Config(qemu.Config{})},
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
			return fmt.Errorf("%s %s %w\nthe consoles are in %s", arch, m.what, err, b.Logs)
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

// loop lets one machine go once round.
func (b *bench) loop(ctx context.Context, c qemu.Config) (outcome, error) {
	fmt.Fprintf(b.log, "%s: ", c.Name)
	began := time.Now()
	c.Arch, c.NICs = b.Lab.Arch, []qemu.NIC{{Segment: b.Segment}}
	n, err := lab.Start(ctx, b.Logs, c)
	if err != nil {
		return outcome{}, err
	}
	defer n.Close()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	failed := b.watch(within, cancel, n)
	_, _, err = n.Jumped(within, lab.Begin, lab.NewVersion)
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
	if s.Release.Version != lab.NewVersion {
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
