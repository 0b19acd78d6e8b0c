package main

import (
	"regexp"
	"slices"
	"time"

	"phase/qemu"
	"phase/tests/lab"
)

// mark is a moment of a start that the console tells of.
type mark struct {
	stage   string // what ends there
	pattern *regexp.Regexp
}

func at(stage, pattern string) mark { return mark{stage, regexp.MustCompile(pattern)} }

// The ways to a release that serves. The clock of its kernel begins between the two
// parts. A mark that is not there, as those of --detail, is passed over: its time is
// part of the next stage.
var (
	leaving = []mark{
		at("the stub, until it has loaded another", `^kexec: loaded`),
		at("until the stop begins", lineStopping),
		at("services and disk come to rest", `^init: jumping`),
		at("the old kernel ends", lineLeave),
	}
	arriving = []mark{
		at("kernel: until it takes the initramfs", `^Trying to unpack rootfs image`),
		at("kernel: until that is unpacked", `^Freeing initrd memory`),
		at("kernel: until it starts init", `^Run \S+ as init process`),
		at("init, until the release greets", `^init: Phase `),
		at("until plasmd runs", `^plasmd: `),
		at("until it knows who it is", `^plasmd: peer `),
		at("until it is ready for jobs", `^plasmd: token `),
		at("until it serves", lab.LineServing),
	}
)

const (
	stageFirmware = "firmware, loader and unpacking"
	stageBetween  = "between the kernels' clocks"
	stageHeard    = "until it is heard"

	lineStopping = `^init: stopping`
	lineLeave    = `^kexec_core: Starting new kernel`
	lineGood     = `^init: release \S+ is good`
)

// stage is a part of a start. Kernel is how long it took by the clock of the kernel that
// ran, which does not count what the console and the emulator were late; where no kernel
// tells both ends, it is Took.
type stage struct {
	Name   string        `json:"name"`
	Took   time.Duration `json:"took_ns"`
	Kernel time.Duration `json:"kernel_ns"`
}

// start is one way to a release that serves, of stages without a gap.
type start struct {
	Total  time.Duration `json:"total_ns"`
	Stages []stage       `json:"stages"`
}

// find is a stage by its name; the zero stage where there was none.
func (s start) find(name string) stage {
	for _, st := range s.Stages {
		if st.Name == name {
			return st
		}
	}
	return stage{}
}

// kernels is what the kernels' own clocks and the network tell: all but the time when
// no kernel counted.
func (s start) kernels() (sum time.Duration) {
	for _, st := range s.Stages {
		if st.Name != stageFirmware && st.Name != stageBetween {
			sum += st.Kernel
		}
	}
	return sum
}

// startOf divides the time between two answers, or from power on to the first. The
// events are those of a jump from the stop of the services on, those of a boot from
// power on.
func startOf(events []qemu.Event, begin, answered time.Time) start {
	d := divider{start: start{Total: answered.Sub(begin)}, last: begin, kernel: -1}
	rest := d.through(events, leaving, answered)
	into := stageFirmware
	if len(rest) < len(events) {
		into = stageBetween
	}
	if zero, ok := clockZero(rest, answered); ok {
		d.kernel = -1 // the clock of another kernel
		d.end(into, zero, 0)
	}
	d.through(rest, arriving, answered)
	d.end(stageHeard, answered, -1)
	return d.start
}

// divider makes the stages of a start.
type divider struct {
	start
	last   time.Time
	kernel time.Duration // the stamp at last; -1 where no kernel has one
}

func (d *divider) end(name string, at time.Time, kernel time.Duration) {
	s := stage{name, at.Sub(d.last), at.Sub(d.last)}
	if d.kernel >= 0 && kernel >= 0 {
		s.Kernel = kernel - d.kernel
	}
	d.Stages = append(d.Stages, s)
	d.last, d.kernel = at, kernel
}

// through ends a stage at each mark that is found, and returns the events behind the
// last of them.
func (d *divider) through(events []qemu.Event, marks []mark, until time.Time) []qemu.Event {
	for _, m := range marks {
		i := slices.IndexFunc(events, func(e qemu.Event) bool {
			return e.Kind == qemu.Line && e.Host.Before(until) && m.pattern.MatchString(e.Text)
		})
		if i < 0 {
			continue
		}
		if events[i].Host.After(d.last) { // else it is before the last answer
			d.end(m.stage, events[i].Host, events[i].Kernel)
		}
		events = events[i+1:]
	}
	return events
}

// clockZero is when the clock of the kernel of these events was zero. Its lines come
// later than their stamps say, the promptest least so.
func clockZero(events []qemu.Event, until time.Time) (zero time.Time, ok bool) {
	for _, e := range events {
		if e.Kind != qemu.Line || e.Kernel < 0 || e.Host.After(until) {
			continue
		}
		if start := e.Host.Add(-e.Kernel); !ok || start.Before(zero) {
			zero, ok = start, true
		}
	}
	return zero, ok
}
