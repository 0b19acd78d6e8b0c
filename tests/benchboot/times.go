package main

import (
	"fmt"
	"time"

	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
)

// times say when a line came.
type times struct {
	power  time.Duration // since power on, by this host's clock
	kernel time.Duration // since the kernel started, by its own clock
}

// round is one boot of each image.
type round struct {
	hello, cold times
	answered    time.Duration // power on until our image answered over the network
}

func timesOf(line qemu.Event) times { return times{power: line.After, kernel: line.Kernel} }

// bootAim is the project's, from the same run: our serving, of hello's first program.
const bootAim = 1.3

// table compares medians.
func table(rounds []round) [][]string {
	of := func(f func(round) time.Duration) time.Duration { return lab.Median(rounds, f) }
	hello := of(func(r round) time.Duration { return r.hello.power })
	row := func(what string, theirs, ours time.Duration, aim string) []string {
		return []string{what, ui.Duration(theirs), ui.Duration(ours), fmt.Sprintf("%.2f", ours.Seconds()/theirs.Seconds()), aim}
	}
	return [][]string{
		{"", "HELLO: FIRST PROGRAM", "PHASE: SERVING", "RATIO", "AIM"},
		row("since power on", hello, of(func(r round) time.Duration { return r.cold.power }), fmt.Sprintf("≤ %.2f", bootAim)),
		row("by the kernel's clock", of(func(r round) time.Duration { return r.hello.kernel }), of(func(r round) time.Duration { return r.cold.kernel }), ""),
		row("answered over the network", hello, of(func(r round) time.Duration { return r.answered }), ""),
	}
}
