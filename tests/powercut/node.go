package powercut

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"phase/qemu"
	"phase/tests/lab"
	"phase/tests/nbd"
)

// patience is the longest wait for one event; it is no measure of speed.
const patience = 10 * time.Minute

// Cut is a power cut, and what became of the node after it.
type Cut struct {
	Phase string
	When  string // within the phase
	Loss  nbd.Loss
	// Version is what the node came up on, 0 when it was cut again before.
	Version uint64
	// Bricked: it did not come up, or not as a node that serves what it runs.
	Bricked bool
	// Problems are what a person would have to mend or explain.
	Problems []string
}

// Result is what became of the node of one seed.
type Result struct {
	Seed uint64
	Cuts []Cut
	// Note says why there are fewer cuts than planned, and Slow that it is no
	// fault of the node.
	Note string
	Slow bool
	Took time.Duration
}

// Good says that the node always came up by itself, whole.
func (r Result) Good() bool {
	if r.Note != "" && !r.Slow {
		return false
	}
	for _, c := range r.Cuts {
		if c.Bricked || len(c.Problems) > 0 {
			return false
		}
	}
	return true
}

func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "SEED=%d, %s", r.Seed, r.Took.Round(time.Second))
	for _, c := range r.Cuts {
		fmt.Fprintf(&b, "\n  cut in %q after %s, %s", c.Phase, c.When, c.Loss)
		switch {
		case c.Bricked:
			b.WriteString(": BRICKED")
		case c.Version == 0:
			b.WriteString(": cut again on its way up")
		default:
			fmt.Fprintf(&b, ": up on %s", names[c.Version])
		}
		for _, p := range c.Problems {
			fmt.Fprintf(&b, "\n    NEEDS A HAND: %s", p)
		}
	}
	if r.Note != "" {
		fmt.Fprintf(&b, "\n  ended early: %s", firstLine(r.Note))
	}
	return b.String()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// node lives the lives of one node. The error is one of the rig.
func (c *Campaign) node(ctx context.Context, p plan, image *os.File) (r Result, err error) {
	began := time.Now()
	r = Result{Seed: p.seed}
	defer func() {
		r.Took = time.Since(began)
		if r.Good() { // else someone will want to look at what was left
			err = errors.Join(err, c.forget(p.seed))
		}
	}()
	disk, who := c.settled.Clone(), known{peer: c.peer}
	if p.lives[0].phase.fresh {
		who = known{}
		if disk, err = nbd.NewDisk(image, diskBytes); err != nil {
			return r, err
		}
	}
	disk.Lie(c.Lie)
	place, err := c.place(ctx)
	if err != nil {
		return r, err
	}
	defer place.close()
	m, err := c.machine(ctx, place, disk, fmt.Sprintf("seed-%d", p.seed))
	if err != nil {
		return r, err
	}
	defer m.close()
	on := lab.Begin
	for i, l := range p.lives {
		if i > 0 {
			if on, err = m.restart(ctx); err != nil {
				return r, err
			}
			if !l.early() {
				if err := m.judge(ctx, on, who, &r.Cuts[i-1]); err != nil || r.Cuts[i-1].Bricked {
					return r, err
				}
			}
		}
		if l.last {
			return r, nil
		}
		if err := m.reach(ctx, on, l, c.slow); err != nil {
			return r, m.stuck(ctx, on, l, &r, err)
		}
		cut, err := c.cutPower(ctx, m, p, i)
		if err != nil {
			return r, err
		}
		r.Cuts = append(r.Cuts, cut)
		who = who.and(m.heard(on, c.newer))
		if err := place.offer(ctx, c, p.lives[i+1].offer); err != nil {
			return r, err
		}
	}
	return r, nil
}

// tooSlow is a release on trial that this machine, with all else that runs on it,
// did not bring up in the time that a node allows. It is given up as it should be.
const tooSlow = `init: problem: .*not healthy in`

// stuck is a node that did not come to where it was to be cut. On its way up it is
// bricked; later it is one that needs a hand, unless time was all that it lacked.
func (m *machine) stuck(ctx context.Context, on qemu.Event, l life, r *Result, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.Note = fmt.Sprintf("it did not come to %q: %v", l.phase.name, err)
	now, cancel := context.WithCancel(ctx)
	cancel()
	_, slow := m.Console.WaitAfter(now, on, tooSlow)
	if r.Slow = slow == nil && !l.early(); r.Slow || len(r.Cuts) == 0 {
		return nil
	}
	before := &r.Cuts[len(r.Cuts)-1]
	before.Bricked = l.early()
	before.Problems = append(before.Problems, r.Note)
	return nil
}

// reach waits until it is time to cut: the phase has begun after the power on,
// and then what the trigger says has happened, or the phase is over.
func (m *machine) reach(ctx context.Context, on qemu.Event, l life, slow float64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begin := on
	var err error
	for _, line := range l.phase.begin {
		if begin, err = m.Console.WaitAfter(ctx, begin, line); err != nil {
			return err
		}
	}
	m.disk.FreezeAfter(l.changes)
	frozen := m.disk.Frozen()
	over := make(chan error, 2)
	if l.phase.end != "" {
		go func() {
			_, err := m.Console.WaitAfter(ctx, begin, l.phase.end)
			over <- err
		}()
	}
	if l.lines > 0 {
		go func() {
			_, err := m.Console.WaitFunc(ctx, begin, "some lines", lineAfter(l.lines))
			over <- err
		}()
	}
	// Where the disk is left alone, or the console says nothing, the usual time
	// must do.
	after := l.after
	if after == 0 {
		after = 2 * l.phase.span
	}
	timer := time.NewTimer(time.Duration(float64(after) * slow))
	defer timer.Stop()
	select {
	case <-frozen:
	case <-timer.C:
	case err = <-over:
	}
	return err
}

// cutPower cuts the power, lets the disk lose what it may lose, and looks at the
// file system that is left.
func (c *Campaign) cutPower(ctx context.Context, m *machine, p plan, number int) (cut Cut, err error) {
	l := p.lives[number]
	m.disk.Freeze()
	m.Kill()
	cut = Cut{Phase: l.phase.name, When: l.trigger.String()}
	if cut.Loss, err = m.disk.Cut(p.loss); err != nil {
		return cut, err
	}
	cut.Problems, err = c.checkPerm(ctx, m.disk, fmt.Sprintf("perm-%d-%d.ext4", p.seed, number))
	return cut, err
}

// restart switches the machine on again.
func (m *machine) restart(ctx context.Context) (on qemu.Event, err error) {
	before := m.Console.Last()
	m.disk.PowerOn()
	if err := m.PowerOn(ctx); err != nil {
		return on, err
	}
	return m.Console.WaitKind(ctx, before, qemu.PowerOn)
}
