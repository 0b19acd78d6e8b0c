package main

import (
	"testing"
	"time"

	"phase/qemu"
)

const s = time.Second

func TestTimesOf(t *testing.T) {
	line := func(index int, after, kernel time.Duration) qemu.Event {
		return qemu.Event{Kind: qemu.Line, Index: index, After: after, Kernel: kernel}
	}
	events := []qemu.Event{
		{Kind: qemu.PowerOn, Kernel: -1},
		line(1, 1*s, -1),  // the firmware's
		line(2, 4*s, 0),   // the console begins: an old line, long held back
		line(3, 4*s, 1*s), // and one held back less
		line(4, 7*s, 5*s), // prompt: the kernel started at 2 s
		line(5, 20*s, 0),  // of the next kernel
		line(6, 20*s, 19*s),
	}
	if got, want := timesOf(events, events[4]), (times{power: 7 * s, kernel: 5 * s, firmware: 2 * s}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestClockZero(t *testing.T) {
	if got := clockZero(nil); got != 0 {
		t.Errorf("of nothing it is %s", got)
	}
	next := []qemu.Event{{Kind: qemu.Line, After: 9 * s, Kernel: -1}, {Kind: qemu.Line, After: 12 * s, Kernel: 2 * s}, {Kind: qemu.Line, After: 12 * s, Kernel: 1 * s}}
	if got := clockZero(next); got != 10*s {
		t.Errorf("the next kernel's clock began at %s", got)
	}
}

func TestMedian(t *testing.T) {
	jumps := func(all ...time.Duration) (rounds []round) {
		for _, d := range all {
			rounds = append(rounds, round{jump: d})
		}
		return rounds
	}
	for _, c := range []struct {
		rounds []round
		want   time.Duration
	}{
		{jumps(7 * s), 7 * s},
		{jumps(9*s, 1*s, 4*s), 4 * s},
		{jumps(4*s, 1*s, 100*s, 2*s), 3 * s},
	} {
		if got := median(c.rounds, func(r round) time.Duration { return r.jump }); got != c.want {
			t.Errorf("%d rounds: %s, want %s", len(c.rounds), got, c.want)
		}
	}
}

func TestDelays(t *testing.T) {
	if len(delay) != len(noDelay) {
		t.Fatal("a command line would grow or shrink")
	}
	boot := []byte("xx rootdelay=10 ro\x00rootdelay=\x00options rootdelay=10")
	if got := delays(boot); len(got) != 2 || got[0] != 3 || got[1] != 38 {
		t.Errorf("found at %v", got)
	}
}
