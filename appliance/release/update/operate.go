package update

import (
	"context"
	"errors"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/release/operator"
	"phase/appliance/release/trust"
)

// Operator has the loop do what the owner of a node asks for. The loop does it
// itself, between its own steps, so that nothing changes under them.
type Operator struct {
	asks  chan func(*loop)
	ended chan struct{}
}

// NewOperator returns the operator of one run of an Updater.
func NewOperator() *Operator {
	return &Operator{asks: make(chan func(*loop)), ended: make(chan struct{})}
}

// questions is nil without an operator.
func (o *Operator) questions() <-chan func(*loop) {
	if o == nil {
		return nil
	}
	return o.asks
}

func (o *Operator) end() {
	if o != nil {
		close(o.ended)
	}
}

var (
	errRestarting = operator.Refusef(operator.Conflict, "this node is restarting into another release; ask again when it is back")
	errTakenBack  = errors.New("the owner of this node decided otherwise meanwhile")
)

// ask runs do in the loop.
func (o *Operator) ask(ctx context.Context, do func(*loop)) error {
	done := make(chan struct{})
	select {
	case o.asks <- func(l *loop) { defer close(done); do(l) }:
		<-done
		return nil
	case <-o.ended:
		return errRestarting
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Found is what a check has found.
type Found struct {
	Providers int            // that are known
	Silent    int            // of them, those that did not answer in time
	Newest    trust.Verified // newer than what runs; not valid when there is none
	Why       string         // it is not taken by itself now; "" when it is
	Until     time.Time
}

const (
	checkTime  = 12 * time.Second // a provider has ten to answer
	lonelyTime = 3 * time.Second  // while no provider is known
)

// check is a question of Check that is not answered yet.
type check struct {
	since time.Time
	found chan<- Found
}

// Check has all providers asked again now, and returns what they have once they
// have answered or had time to.
func (o *Operator) Check(ctx context.Context) (Found, error) {
	found := make(chan Found, 1)
	err := o.ask(ctx, func(l *loop) {
		l.checks = append(l.checks, check{time.Now(), found})
		l.survey.Again()
	})
	if err != nil {
		return Found{}, err
	}
	select {
	case f := <-found:
		return f, nil
	case <-o.ended:
		return Found{}, errRestarting
	case <-ctx.Done():
		return Found{}, context.Cause(ctx)
	}
}

// Providers are the base URLs of those known now, the best first; see
// survey.Survey.Providers.
func (o *Operator) Providers(ctx context.Context) (list []string, err error) {
	err = o.ask(ctx, func(l *loop) { list = l.survey.Providers() })
	return list, err
}

// answerChecks answers the checks that are over, and returns when to look at the
// others again.
func (l *loop) answerChecks() time.Duration {
	wait := lookAgain
	var open []check
	for _, c := range l.checks {
		silent, all := l.survey.Waiting(c.since)
		most := checkTime
		if all == 0 {
			most = lonelyTime
		}
		if left := most - time.Since(c.since); left > 0 && (silent > 0 || all == 0) {
			open, wait = append(open, c), min(wait, left)
			continue
		}
		c.found <- l.found(all, silent)
	}
	l.checks = open
	return wait
}

func (l *loop) found(all, silent int) Found {
	f := Found{Providers: all, Silent: silent}
	offers, _ := l.offers()
	before := l.applying
	l.applying = &applying{} // whatever stands against it
	c, _ := l.choose(offers)
	l.applying = before
	if f.Newest = c.Release; f.Newest.Valid() {
		if _, w := l.choose(offers); w != nil {
			f.Why, f.Until = w.Why, w.Until
		}
	}
	return f
}

// applying is a release that somebody has asked for.
type applying struct {
	by      string
	release names.Digest // zero: the newest
}

// Apply has the newest release taken now, or the one named, whatever the window,
// the rollout or a hold say, and returns which. It is verified as any other. Move
// is told of it where the node is held on a release; it may be nil.
func (o *Operator) Apply(ctx context.Context, by string, release names.Digest, move func(trust.Verified) error) (v trust.Verified, err error) {
	if failed := o.ask(ctx, func(l *loop) { v, err = l.apply(by, release, move) }); failed != nil {
		return v, failed
	}
	return v, err
}

func (l *loop) apply(by string, release names.Digest, move func(trust.Verified) error) (trust.Verified, error) {
	if l.busy {
		v := l.chosen.Release
		if !release.IsZero() && v.Digest() != release {
			return v, operator.Refusef(operator.Conflict, "version %d is being taken; wait for its end, or stop it with `plasmd update hold`", v.Manifest().Version)
		}
		return v, nil
	}
	l.applying = &applying{by, release}
	offers, _ := l.offers()
	c, _ := l.choose(offers)
	v := c.Release
	if !v.Valid() {
		l.applying = nil
		floor, _ := l.runs()
		return v, operator.Refusef(operator.Conflict, "no provider has a release newer than version %d that passes every check; `plasmd update check` asks them again, `plasmd update status` says what was refused", floor)
	}
	if l.pinned() && move != nil {
		if err := move(v); err != nil {
			l.applying = nil
			return v, err
		}
	}
	l.resume = time.Time{}
	l.report(func(u *statefile.Update) { u.Applying = waits(v, "", time.Time{}) })
	return v, nil
}

// applied ends what was asked for, without success.
func (l *loop) applied(err error) {
	if l.applying == nil || l.busy {
		return
	}
	l.applying = nil
	l.report(func(u *statefile.Update) {
		if u.Applying == nil {
			return
		}
		failed := *u.Applying
		if failed.Why = "no provider is left that has it"; err != nil {
			failed.Why = err.Error()
		}
		u.Applying = &failed
	})
}

// by is who asked for what is chosen.
func (l *loop) by() string {
	switch {
	case l.applying != nil:
		return l.applying.by
	case l.pinned():
		return "hold"
	}
	return "itself"
}

// Repin changes the release that the owner keeps the node on, and ends a download
// under way. It is too late once init has been asked to jump.
func (o *Operator) Repin(ctx context.Context, change func() error) (err error) {
	failed := o.ask(ctx, func(l *loop) { err = l.repin(change) })
	if failed != nil {
		return failed
	}
	return err
}

func (l *loop) repin(change func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.jumping {
		return errRestarting
	}
	if err := change(); err != nil {
		return err
	}
	if l.busy { // failed does the rest
		l.stop(errTakenBack)
	}
	l.settled, l.resume, l.pause = time.Time{}, time.Time{}, 0
	return nil
}
