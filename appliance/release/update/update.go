// Package update keeps a node on the newest release its network has: it surveys
// the providers there are, chooses the newest release that passes every check,
// fetches it from all who have it and asks init to count the trial and jump.
// This file is the loop; take.go is one attempt. A provider that lies, stalls or
// dies costs a line on the console, never the release the node runs.
package update

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
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

// Updater is what the loop works with. All fields but Finders, Providers and
// Tried are needed.
type Updater struct {
	// Root is the newest root known of those that are trusted, as it is now.
	Root    func() trust.Root
	Running trust.Verified // the release this node runs: the floor
	Channel string
	Arch    string

	Finders   []survey.Finder // of providers
	Providers []string        // base URLs the owner named
	// Failed says whether a release was tried on this machine before and did
	// not come up.
	Failed func(names.Digest) bool
	// Tried, where the machine itself forgets, asks the provider at url how
	// often it was; its refusal keeps the release from being taken from there.
	// It may be nil.
	Tried func(ctx context.Context, url string, v trust.Verified) error
	Now   func() time.Time // the clock, floored by signed material

	// Ask gets the manifest of a provider: the envelope, at most 1 MiB.
	Ask func(ctx context.Context, url, channel, arch string) ([]byte, error)
	// Ready refuses a release that this machine cannot load (too little
	// memory, a kernel that may not load another) before it is downloaded.
	Ready func(context.Context, trust.Verified) error
	// Fetch downloads a release from its providers, resuming what an earlier
	// call for the same release left behind.
	Fetch func(ctx context.Context, v trust.Verified, providers []string) (Payload, fetch.Report, error)
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

	mu    sync.Mutex // guards shown: the download reports beside the loop
	shown statefile.Update

	judgedBy uint64                // version of the root that judged
	judged   map[names.Digest]bool // releases offered, whether it vouches for them

	busy    bool
	chosen  survey.Choice
	settled time.Time // when a choice may be acted on
	pause   time.Duration
	resume  time.Time // no download before: this machine could not take what it got
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
	l.show("looking")
	floor, _ := u.floor()
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
	timer := time.NewTimer(lookAgain)
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
		case <-timer.C:
		}
		timer.Reset(l.step(ctx))
	}
}

// floor is the version below which nothing is taken, and the one release that
// may have it. Versions count within a channel: a node that is moved to
// another one takes that channel's newest, whatever the running release is called.
func (u Updater) floor() (uint64, names.Digest) {
	if m := u.Running.Manifest(); m.Channel == u.Channel {
		return m.Version, u.Running.Digest()
	}
	return 0, names.Digest{}
}

// step starts a download that is due and returns how long nothing more will be.
func (l *loop) step(ctx context.Context) time.Duration {
	now := time.Now() // paces the loop: never set back, unlike the clock that judges expiry
	wait := lookAgain
	offers, more := l.survey.Offers()
	if !more.IsZero() {
		wait = min(wait, more.Sub(now))
	}
	offers = slices.DeleteFunc(offers, func(o survey.Offer) bool { return !l.vouched(o.Release) })
	floor, _ := l.floor()
	choice, ok := survey.Choose(offers, floor, l.Failed)
	switch {
	case !ok:
		l.settled = time.Time{}
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
	if start.After(now) {
		return min(wait, start.Sub(now))
	}
	l.busy, l.chosen = true, choice
	go func() {
		var o outcome
		o.dropped, o.err = l.take(ctx, choice)
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
	floor, same := l.floor()
	v, err := l.Root().Verify(envelope, trust.Policy{
		Channel: channel, Arch: arch, Now: l.Now(),
		Floor: floor, FloorDigest: same,
	})
	if err != nil {
		return v, err
	}
	if l.Failed(v.Digest()) {
		return trust.Verified{}, refusal.New(refusal.FailedBefore, "version %d was tried on this machine and did not come up", v.Manifest().Version)
	}
	if l.Tried != nil && v.Manifest().Version > floor {
		if err := l.Tried(ctx, url, v); err != nil {
			return trust.Verified{}, err
		}
	}
	return v, nil
}

// judge says what is news in an answer.
func (l *loop) judge(a survey.Answer) {
	floor, _ := l.floor()
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
	if len(o.dropped) == 0 {
		l.pause = min(max(2*l.pause, firstPause), longestPause)
		l.resume = time.Now().Add(l.pause)
	}
	l.settled = time.Time{}
	l.show("looking")
}
