package powercut

import (
	"fmt"
	"math/rand/v2"
	"time"

	"phase/qemu"
	"phase/tests/lab"
)

// phase is a part of a node's life, between two lines of its console.
type phase struct {
	name string
	// begin are patterns of lines that come one after the other; without any the
	// phase begins at power on.
	begin []string
	// end is a pattern; what comes after the last line of interest has none.
	end string
	// span is about how long it lasts on a quiet machine that emulates.
	span time.Duration
	// changes is about how often it writes to the disk or flushes it.
	changes int
	// fresh is a disk that was never booted; the others have been once.
	fresh bool
}

// What the console says at a jump, besides what package lab knows.
const (
	lineKernel = `kexec_core: Starting new kernel`
	lineKexec  = `init: Phase .*booted from kexec`
	lineGood   = `init: release (\S+) is good`
	// lineAnswers is said by every release that is up and answers.
	lineAnswers = `init: plasmd answers`
)

var phases = []phase{
	{name: "very first boot", end: lab.LineServing, span: 8 * time.Second, changes: 120, fresh: true},
	{name: "boot of the stub", end: lab.LineServing, span: 7 * time.Second, changes: 40},
	{name: "download", begin: []string{lab.LineFound}, end: lab.LineFetched, span: 3 * time.Second, changes: 60},
	{name: "load", begin: []string{lab.LineFetched}, end: lab.LineJump, span: 2 * time.Second, changes: 10},
	{name: "count and stop", begin: []string{lab.LineJump}, end: lineKernel, span: time.Second, changes: 20},
	{name: "jump", begin: []string{lab.LineJump, lineKernel}, end: lineKexec, span: 6 * time.Second, changes: 10},
	{name: "first boot", begin: []string{lab.LineJump, lineKexec}, end: lab.LineServing, span: 2 * time.Second, changes: 20},
	{name: "commit", begin: []string{lab.LineJump, lineKexec, lab.LineServing}, end: lineGood, span: 4 * time.Second, changes: 30},
	{name: "after the commit", begin: []string{lab.LineJump, lineGood}, span: 4 * time.Second, changes: 20},
}

// idle is a node that is up and alone.
var idle = phase{name: "alone", begin: []string{lineAnswers}, span: 5 * time.Second, changes: 3}

// drawn are the phases in the order in which seeds go through them: those that
// write most come twice.
var drawn = []phase{
	phases[0], phases[2], phases[7], phases[3], phases[4], phases[1], phases[2], phases[5], phases[6], phases[7], phases[8], phases[3],
}

// trigger is what a cut waits for, once its phase has begun. The end of the phase
// ends every wait.
type trigger struct {
	changes int           // so many requests that change the disk; or
	lines   int           // so many lines of the console; or
	after   time.Duration // so much time
}

func (t trigger) String() string {
	switch {
	case t.changes > 0:
		return fmt.Sprintf("%d writes", t.changes)
	case t.lines > 0:
		return fmt.Sprintf("%d lines", t.lines)
	}
	return t.after.Round(time.Millisecond).String()
}

// life is the time from a power on to a power cut.
type life struct {
	phase phase
	trigger
	// offer is the newest release that a provider has; 0: there is no provider.
	offer uint64
	// last: it is not cut, it is looked at.
	last bool
}

// early says that the life is cut before the node is up.
func (l life) early() bool {
	return !l.last && l.phase.end == lab.LineServing && len(l.phase.begin) == 0
}

// plan is all that a seed decides before the machine is switched on.
type plan struct {
	seed  uint64
	lives []life
	// loss draws what each cut takes.
	loss *rand.Rand
}

// CutsPerNode is how often the power of one node is cut.
const CutsPerNode = 3

// newPlan draws a plan. A node is on its way to a newer release when its power is
// cut, comes up alone, is cut again there, is on its way to a newer release again,
// is cut, and comes up alone. Seeds that follow each other go through all phases.
func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 0x706f776572))
	n := uint64(len(drawn))
	first, second := drawn[seed%n], drawn[(seed/n+seed+4)%n]
	if second.fresh { // it is none any more
		second = phases[1]
	}
	between := []phase{phases[1], idle}[r.IntN(2)]
	return plan{
		seed: seed,
		lives: []life{
			{phase: first, trigger: draw(r, first), offer: nextVersion},
			{phase: between, trigger: draw(r, between)},
			{phase: second, trigger: draw(r, second), offer: lastVersion},
			{last: true},
		},
		loss: rand.New(rand.NewPCG(seed, 0x6c6f7373)),
	}
}

func draw(r *rand.Rand, p phase) (t trigger) {
	switch r.IntN(5) {
	case 0, 1, 2:
		t.changes = 1 + r.IntN(p.changes)
	case 3:
		t.lines = 1 + r.IntN(12)
	default:
		t.after = time.Duration(1 + r.Int64N(int64(p.span)))
	}
	return t
}

// lineAfter matches the n-th line after an event.
func lineAfter(n int) func(qemu.Event) bool {
	return func(e qemu.Event) bool {
		if e.Kind == qemu.Line {
			n--
		}
		return n <= 0
	}
}
