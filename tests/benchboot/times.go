package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"phase/appliance/base/ui"
	"phase/qemu"
)

// times say when a line came.
type times struct {
	power    time.Duration // since power on, by this host's clock
	kernel   time.Duration // since the kernel started, by its own clock
	firmware time.Duration // from power on until the kernel started
}

// round is one boot of each image.
type round struct {
	hello, cold times
	answered    time.Duration // power on until our image answered over the network
	jump        time.Duration // from the stop of the services, after which nobody serves, until serving again
	stop        time.Duration // of it, until the first kernel's last line
	between     time.Duration // from there until the second one's clock begins
	jumpKernel  time.Duration // from there until serving, by that clock
}

// timesOf measures a line of the first boot. The kernel started when its clock
// was 0; its lines come later than their stamps say, the promptest least so.
func timesOf(events []qemu.Event, line qemu.Event) times {
	return times{power: line.After, kernel: line.Kernel, firmware: clockZero(events[:min(len(events), line.Index+1)])}
}

// clockZero is when, since power on, the clock of the kernel of these events began.
func clockZero(events []qemu.Event) (zero time.Duration) {
	first := true
	for _, e := range events {
		if e.Kind != qemu.Line || e.Kernel < 0 {
			continue
		}
		if start := e.After - e.Kernel; first || start < zero {
			zero, first = start, false
		}
	}
	return zero
}

// What a machine that jumps says: when it begins to stop its services, and its
// kernel's last line.
const (
	lineStopping = `init: stopping`
	lineLeave    = `kexec_core: Starting new kernel`
)

// Aims of the project, from the same run.
const (
	bootAim = 1.3 // our serving, of hello's first program
	jumpAim = 1.0 // a jump, of a cold boot without its firmware
)

// table compares medians.
func table(rounds []round) [][]string {
	of := func(f func(round) time.Duration) time.Duration { return median(rounds, f) }
	hello := of(func(r round) time.Duration { return r.hello.power })
	row := func(what string, theirs, ours time.Duration, aim string) []string {
		return []string{what, ui.Duration(theirs), ui.Duration(ours), fmt.Sprintf("%.2f", ratio(ours, theirs)), aim}
	}
	return [][]string{
		{"", "HELLO: FIRST PROGRAM", "PHASE: SERVING", "RATIO", "AIM"},
		row("since power on", hello, of(func(r round) time.Duration { return r.cold.power }), fmt.Sprintf("≤ %.2f", bootAim)),
		row("by the kernel's clock", of(func(r round) time.Duration { return r.hello.kernel }), of(func(r round) time.Duration { return r.cold.kernel }), ""),
		row("answered over the network", hello, of(func(r round) time.Duration { return r.answered }), ""),
		{"", "", "", "", ""},
		{"", "COLD BOOT LESS FIRMWARE", "JUMP TO SERVING", "RATIO", "AIM"},
		row("of the same machine", of(func(r round) time.Duration { return r.cold.power - r.cold.firmware }),
			of(func(r round) time.Duration { return r.jump }), fmt.Sprintf("≤ %.2f", jumpAim)),
		{"  stopping services and disk", "", ui.Duration(of(func(r round) time.Duration { return r.stop })), "", ""},
		// The firmware's and the loader's part of a cold boot is not here; that
		// of a kernel which unpacks itself is, unless it was unpacked before.
		{"  between the kernels' clocks", "", ui.Duration(of(func(r round) time.Duration { return r.between })), "", ""},
		row("  by each kernel's clock", of(func(r round) time.Duration { return r.cold.kernel }), of(func(r round) time.Duration { return r.jumpKernel }), ""),
	}
}

func ratio(ours, theirs time.Duration) float64 { return ours.Seconds() / theirs.Seconds() }

// median of an even number of rounds is the mean of the two in the middle.
func median(rounds []round, of func(round) time.Duration) time.Duration {
	var all []time.Duration
	for _, r := range rounds {
		all = append(all, of(r))
	}
	slices.SortFunc(all, cmp.Compare)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}
