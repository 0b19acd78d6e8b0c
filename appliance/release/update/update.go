// Package update keeps a node on the newest release its network has: it surveys
// the providers there are, chooses the newest release that passes every check,
// fetches it from all who have it and asks init to count the trial and jump.
// This file is the loop; choose.go is its choice, take.go one attempt, and
// operate.go what its owner asks of it. A provider that lies, stalls or
// dies costs a line on the console, never the release the node runs.
package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/operator"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

// Payload is a fetched release, ready to be jumped into.
type Payload interface {
	// Load verifies what was fetched once more and hands it to the kernel.
	Load(ctx context.Context) error
	// Close frees it.
	Close() error
}

// Updater is what the loop works with. All fields are needed but those that say
// otherwise, Finders and Providers.
type Updater struct {
	// Root is the newest root known of those that are trusted, as it is now.
	Root    func() trust.Root
	Running trust.Verified // the release this node runs: the floor
	Channel string
	Arch    string

	// Floor is the version below which nothing is taken from the network, and the
	// one release that may have it; nil: the running release is.
	Floor func() (uint64, names.Digest)
	// Verified is told of every release that passed all checks; it may be nil.
	Verified func(trust.Verified)
	// Startable are the releases that this node holds already and may jump into
	// now, newest first; with pinned, those that the owner keeps it on. It may be
	// nil.
	Startable func(pinned bool) []trust.Verified
	// Pinned says that the owner keeps this node on a release: none is taken but
	// what Startable names. It may be nil.
	Pinned func() bool
	// Out says why a release is not offered to this node yet, "" when it is: such
	// a release is not taken by itself and is no floor. It may be nil.
	Out func(trust.Verified) string
	// May says why no release, or not this one, is taken by itself now, and until
	// when where that is known; "" when it may be. It may be nil.
	May func(trust.Verified) (why string, until time.Time)
	// Operator asks the loop for what its owner wants. It may be nil.
	Operator *Operator

	Finders   []survey.Finder // of providers
	Providers []string        // base URLs the owner named
	// Failed says whether a release was tried on this machine before and did
	// not come up.
	Failed func(names.Digest) bool
	// Tried, where the machine itself forgets, asks the provider at url how
	// often it was; its refusal keeps the release from being taken from there.
	// It may be nil.
	Tried func(ctx context.Context, url string, v trust.Verified) error
	// Twin is given the manifest of a release that was refused because another one
	// of its version was verified before, and for that alone. It may be nil.
	Twin func(envelope []byte)
	Now  func() time.Time // the clock, floored by signed material

	// Ask gets the manifest of a provider: the envelope, at most 1 MiB.
	Ask func(ctx context.Context, url, channel, arch string) ([]byte, error)
	// Ready refuses a release that this machine cannot load (too little
	// memory, a kernel that may not load another) before it is downloaded.
	Ready func(context.Context, trust.Verified) error
	// Fetch downloads a release from its providers, resuming what an earlier
	// call for the same release left behind.
	Fetch func(ctx context.Context, v trust.Verified, providers []string) (Payload, fetch.Report, error)
	// Taken is told where a release came from, before the jump. It may be nil.
	Taken func(operator.Taken)
	// Drain gives what runs on this node time to end, and refuses what is new; undo
	// takes that back. It may be nil.
	Drain func(context.Context) (undo func())
	// Jump asks init to count the trial, stop the services and enter the
	// loaded kernel. It returns nil only when init has taken over.
	Jump func(ctx context.Context, v trust.Verified) error
	// Report shows the state to other programs.
	Report func(statefile.Update)
}

const (
	settle       = time.Second      // after the first good offer, wait for better ones
	lookAgain    = 5 * time.Minute  // at what there is, when nothing happens
	firstPause   = 10 * time.Second // after a download that this machine could not take
	longestPause = 5 * time.Minute
	historyMax   = 64 // attempts kept for /status
	maxJudged    = 4096
)

// outcome is how a download and what follows it ended.
type outcome struct {
	dropped []string // providers
	err     error    // nil when init has taken over
}

// loop is one run of an Updater.
type loop struct {
	Updater
	survey *survey.Survey
	done   chan outcome // of the download under way

	mu      sync.Mutex // guards what follows: the download works beside the loop
	shown   statefile.Update
	jumping bool // nothing can be taken back any more

	judgedBy uint64                // version of the root that judged
	judged   map[names.Digest]bool // releases offered, whether it vouches for them

	busy    bool
	chosen  survey.Choice
	settled time.Time // when a choice may be acted on
	pause   time.Duration
	resume  time.Time // no download before: this machine could not take what it got

	applying *applying               // nil unless a release was asked for
	stop     context.CancelCauseFunc // ends the download under way
	checks   []check
}

// Run looks for newer releases until ctx ends, or until init has taken over for
// the jump, when it returns nil.
func (u Updater) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &loop{Updater: u, done: make(chan outcome, 1)}
	l.survey = &survey.Survey{
		Finders: u.Finders, Named: u.Providers, Channel: u.Channel, Arch: u.Arch, Get: u.Ask, Check: l.check,
	}
	defer l.Operator.end()
	l.show("looking")
	floor, _ := u.runs()
	slog.Info(fmt.Sprintf("looking for a release newer than version %d (%s/%s)", floor, u.Channel, u.Arch))
	answers, ended := make(chan survey.Answer), make(chan error, 1)
	go func() {
		ended <- l.survey.Run(ctx, func(a survey.Answer) {
			select {
			case answers <- a:
			case <-ctx.Done():
			}
		})
	}()
	timer := time.NewTimer(0) // what is held already may be due
	defer timer.Stop()
	for {
		select {
		case err := <-ended: // with ctx, or because a finder cannot find
			return err
		case a := <-answers:
			l.judge(a)
		case o := <-l.done:
			l.busy = false
			if o.err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			l.failed(o)
		case do := <-l.Operator.questions():
			do(l)
		case <-timer.C:
		}
		timer.Reset(min(l.step(ctx), l.answerChecks()))
	}
}

// runs is the version that a release must be newer than to be jumped into, and the
// release that has it. Versions count within a channel: a node that is moved to
// another one takes that channel's newest, whatever the running release is called.
func (u Updater) runs() (uint64, names.Digest) {
	if m := u.Running.Manifest(); m.Channel == u.Channel {
		return m.Version, u.Running.Digest()
	}
	return 0, names.Digest{}
}

// floor is the version below which nothing is taken from the network, and the one
// release that may have it.
func (u Updater) floor() (uint64, names.Digest) {
	if u.Floor != nil {
		return u.Floor()
	}
	return u.runs()
}

// step starts a download that is due and returns how long nothing more will be.
func (l *loop) step(ctx context.Context) time.Duration {
	now := time.Now() // paces the loop: never set back, unlike the clock that judges expiry
	wait := lookAgain
	offers, more := l.offers()
	if !more.IsZero() {
		wait = min(wait, more.Sub(now))
	}
	choice, waiting := l.choose(offers)
	if l.wait(waiting); waiting != nil && !waiting.Until.IsZero() {
		wait = min(wait, max(waiting.Until.Sub(l.Now()), time.Second))
	}
	switch {
	case !choice.Release.Valid():
		l.settled = time.Time{}
		l.applied(nil) // nobody is left who has it
		return wait
	case l.busy:
		return wait
	case l.settled.IsZero():
		l.settled = now.Add(settle)
	}
	start := l.settled
	if l.resume.After(start) {
		start = l.resume
	}
	if start.After(now) && l.applying == nil {
		return min(wait, start.Sub(now))
	}
	l.busy, l.chosen = true, choice
	taking, stop := context.WithCancelCause(ctx)
	l.stop = stop
	by := l.by()
	go func() {
		defer stop(nil)
		var o outcome
		o.dropped, o.err = l.take(taking, choice, by)
		if cause := context.Cause(taking); o.err != nil && errors.Is(cause, errTakenBack) {
			o.err = cause
		}
		l.done <- o
	}()
	return wait
}

// vouched says whether the root that counts now stands for a release: it may
// have passed the check under an earlier one, whose keys count no more.
func (l *loop) vouched(v trust.Verified) bool {
	root := l.Root()
	if l.judgedBy != root.Version() || len(l.judged) > maxJudged {
		l.judgedBy, l.judged = root.Version(), map[names.Digest]bool{}
	}
	good, known := l.judged[v.Digest()]
	if !known {
		_, err := root.VerifyHeld(v.Envelope(), l.Channel, l.Arch)
		good = err == nil
		l.judged[v.Digest()] = good
	}
	return good
}

// check is the gate between what a stranger sent and an offer.
func (l *loop) check(ctx context.Context, url, channel, arch string, envelope []byte) (trust.Verified, error) {
	against := func(floor uint64, same names.Digest) (trust.Verified, error) {
		return l.Root().Verify(envelope, trust.Policy{
			Channel: channel, Arch: arch, Now: l.Now(),
			Floor: floor, FloorDigest: same,
		})
	}
	v, err := against(l.floor())
	if refusal.CodeOf(err) == refusal.Rollback {
		// However high the floor has risen meanwhile: the running release is no
		// offence, and a second one of its version is more than an old one.
		again, twin := against(l.runs())
		switch {
		case twin == nil && again.Digest() == l.Running.Digest():
			return again, nil
		case refusal.CodeOf(twin) == refusal.Equivocation:
			err = twin
		}
	}
	if err != nil {
		if l.Twin != nil && refusal.CodeOf(err) == refusal.Equivocation {
			l.Twin(envelope)
		}
		return v, err
	}
	if l.Failed(v.Digest()) {
		return trust.Verified{}, refusal.New(refusal.FailedBefore, "version %d was tried on this machine and did not come up", v.Manifest().Version)
	}
	if runs, _ := l.runs(); l.Tried != nil && v.Manifest().Version > runs {
		if err := l.Tried(ctx, url, v); err != nil {
			return trust.Verified{}, err
		}
	}
	// What is offered to others first must not keep this node from what is offered
	// to all.
	if l.Verified != nil && (l.Out == nil || l.Out(v) == "") {
		l.Verified(v)
	}
	return v, nil
}

// judge says what is news in an answer.
func (l *loop) judge(a survey.Answer) {
	floor, _ := l.runs()
	switch {
	case !a.News:
	case a.Err != nil:
		// Shown before it is said, here and below: one who reads the line finds
		// it in /status.
		l.attempt(a.URL, nil, "refused", a.Err)
		slog.Warn(fmt.Sprintf("refused %s: %v", a.URL, a.Err))
	case a.Release.Manifest().Version > floor:
		m := a.Release.Manifest()
		slog.Info(fmt.Sprintf("found version %d (%s) at %s", m.Version, m.Name, a.URL))
	}
}

// failed slows down after a download that did not succeed: towards those it
// was asked of, or, when they were not at fault, altogether. What it has
// fetched so far is kept by Fetch, so that the next try resumes.
func (l *loop) failed(o outcome) {
	for _, d := range o.dropped {
		l.survey.Dropped(d)
	}
	v := l.chosen.Release
	l.attempt(l.chosen.Providers[0], &v, "failed", o.err)
	slog.Warn(fmt.Sprintf("version %d was not taken: %v", v.Manifest().Version, o.err))
	if len(o.dropped) == 0 { // this machine could not
		l.applied(o.err)
	}
	if len(o.dropped) == 0 && !errors.Is(o.err, errTakenBack) {
		l.pause = min(max(2*l.pause, firstPause), longestPause)
		l.resume = time.Now().Add(l.pause)
	}
	l.settled = time.Time{}
	l.show("looking")
}
