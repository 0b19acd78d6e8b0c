// Package update keeps a node on the newest release its network has: it asks
// every provider it hears of for its manifest, verifies it, chooses the newest,
// fetches it from everyone who has it and asks init to count the trial and jump.
// What it decides is pure (choose.go, book.go); this file is the loop that
// carries it out. A provider that lies, stalls or dies costs a line on the
// console, never the release the node runs.
package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/release/trust"
)

// Announcement is what a node hears of a provider: a hint, nothing more.
type Announcement struct {
	Key     string   // tells announcements apart; the same one again replaces it
	Source  string   // who made it, by address; empty: nobody made another one
	URLs    []string // bases to ask, in order
	Version uint64   // what it says it has
}

// Payload is a fetched release, ready to be jumped into.
type Payload interface {
	// Load verifies what was fetched once more and hands it to the kernel.
	Load(ctx context.Context) error
	// Close frees it.
	Close() error
}

// Dropped is a provider that a download went on without.
type Dropped struct {
	Provider string
	Why      error
}

// Updater is the loop's surroundings. All fields but Providers and Tried are needed.
type Updater struct {
	Root    trust.Root
	Running trust.Verified // the release this node runs: the floor
	Channel string
	Arch    string

	Providers []string // base URLs the owner named
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
	// call for the same release left behind, and says of each provider it
	// dropped on the way why.
	Fetch func(ctx context.Context, v trust.Verified, providers []string) (Payload, []Dropped, error)
	// Jump asks init to count the trial, stop the services and enter the
	// loaded kernel. It returns nil only when init has taken over.
	Jump func(ctx context.Context, v trust.Verified) error
	// Report shows the state to other programs.
	Report func(statefile.Update)
}

const (
	askers     = 64               // providers asked at once; a question costs little
	settle     = time.Second      // after the first good offer, wait for better ones
	askTime    = 10 * time.Second // for all the addresses of one provider together
	crowdTime  = time.Second      // the same while others wait, and twice as long after each failure
	historyMax = 64               // attempts kept for /status
)

// answer is what one provider said.
type answer struct {
	from  *provider
	url   string
	offer *Offer
	err   error
}

// outcome is how a download and what follows it ended.
type outcome struct {
	dropped []Dropped
	err     error // nil when init has taken over
}

// loop is one run of an Updater.
type loop struct {
	Updater
	book    *book
	answers chan answer
	done    chan outcome // of the download under way

	mu    sync.Mutex // guards shown: the download reports beside the loop
	shown statefile.Update

	asking  int
	busy    bool
	chosen  Choice
	settled time.Time // when a choice may be acted on
	pause   time.Duration
	resume  time.Time // no download before: this machine could not take what it got
}

// Run looks for newer releases among the announcements until ctx ends, or
// until init has taken over for the jump, when it returns nil.
func (u Updater) Run(ctx context.Context, heard <-chan Announcement) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &loop{Updater: u, book: newBook(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))), answers: make(chan answer), done: make(chan outcome, 1)}
	for _, url := range u.Providers {
		l.book.hear(Announcement{Key: url, URLs: []string{url}}, true, time.Now())
	}
	l.show("looking")
	floor, _ := u.floor()
	slog.Info(fmt.Sprintf("looking for a release newer than version %d (%s/%s)", floor, u.Channel, u.Arch))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a, ok := <-heard:
			if !ok {
				heard = nil
				continue
			}
			l.book.hear(a, false, time.Now())
		case a := <-l.answers:
			l.asking--
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
// may have it. Versions count within a channel: whoever moves a node to another
// one takes that channel's newest, whatever the running release is called.
func (u Updater) floor() (uint64, names.Digest) {
	if m := u.Running.Manifest(); m.Channel == u.Channel {
		return m.Version, u.Running.Digest()
	}
	return 0, names.Digest{}
}

// step starts whatever is due and returns how long nothing more will be.
func (l *loop) step(ctx context.Context) time.Duration {
	now := time.Now() // paces the loop: never set back, unlike the clock that judges expiry
	wake := l.question(ctx, now)
	offers, more := l.book.offers(now)
	if !more.IsZero() && more.Before(wake) {
		wake = more
	}
	floor, _ := l.floor()
	choice, ok := Choose(offers, floor, l.Failed)
	if !ok {
		l.settled = time.Time{}
		return wake.Sub(now)
	}
	if l.busy {
		return wake.Sub(now)
	}
	if l.settled.IsZero() {
		l.settled = now.Add(settle)
	}
	start := l.settled
	if l.resume.After(start) {
		start = l.resume
	}
	if start.After(now) {
		if start.Before(wake) {
			wake = start
		}
		return wake.Sub(now)
	}
	l.busy, l.chosen = true, choice
	go func() {
		var o outcome
		o.dropped, o.err = l.take(ctx, choice)
		l.done <- o
	}()
	return wake.Sub(now)
}

// question asks those whose turn it is and returns when to look again.
func (l *loop) question(ctx context.Context, now time.Time) (wake time.Time) {
	wake = now.Add(recheck)
	if l.asking < askers { // else an answer brings us back here, and a flood costs nothing
		var due []*provider
		due, wake = l.book.due(now)
		for _, p := range due {
			if l.asking == askers {
				break
			}
			l.asking++
			asking, hurry := context.WithCancelCause(ctx)
			p.asking, p.asked = true, now
			p.hurry = func() {
				hurry(refusal.New(refusal.Slow, "no answer within %v, and others wait to be asked", p.turnTime()))
			}
			go func(urls []string) { // which may change while they are asked
				defer hurry(nil)
				l.ask(ctx, asking, p, urls)
			}(p.urls)
		}
	}
	if l.asking == askers {
		if more := l.book.hurry(now); !more.IsZero() && more.Before(wake) {
			wake = more
		}
	}
	return wake
}

// ask gets and verifies one provider's manifest, trying its addresses in turn.
func (l *loop) ask(ctx, asking context.Context, p *provider, urls []string) {
	a := answer{from: p, err: refusal.New(refusal.Unreachable, "it announced no address this node can reach")}
	slow := refusal.New(refusal.Slow, "no answer from any of its addresses within %v", askTime)
	asking, cancel := context.WithTimeoutCause(asking, askTime, slow)
	defer cancel()
	for _, url := range urls {
		a.url = url
		var data []byte
		if data, a.err = l.Ask(asking, url, l.Channel, l.Arch); a.err == nil {
			a.offer, a.err = l.verify(ctx, url, data)
			break // it answered: another address of the same node would say the same
		}
		if asking.Err() != nil {
			break // however many addresses it gave, it has had its time
		}
	}
	select {
	case l.answers <- a:
	case <-ctx.Done():
	}
}

// verify is the gate between what a stranger sent and an Offer.
func (l *loop) verify(ctx context.Context, url string, data []byte) (*Offer, error) {
	floor, same := l.floor()
	v, err := l.Root.Verify(data, trust.Policy{
		Channel: l.Channel, Arch: l.Arch, Now: l.Now(),
		Floor: floor, FloorDigest: same,
	})
	if err != nil {
		return nil, err
	}
	if l.Failed(v.Digest()) {
		return nil, refusal.New(refusal.FailedBefore, "version %d was tried on this machine and did not come up", v.Manifest().Version)
	}
	if l.Tried != nil && v.Manifest().Version > floor {
		if err := l.Tried(ctx, url, v); err != nil {
			return nil, err
		}
	}
	return &Offer{Provider: url, Release: v}, nil
}

// judge takes an answer into the book, and tells what is news in it.
func (l *loop) judge(a answer) {
	known := a.from.offer
	news := l.book.answered(a.from, a.offer, a.err, time.Now())
	floor, _ := l.floor()
	switch {
	case a.err != nil && news:
		// Shown before it is said, here and below: whoever reads the line finds
		// it in /status.
		l.attempt(a.url, nil, "refused", a.err)
		slog.Warn(fmt.Sprintf("refused %s: %v", a.url, a.err))
	case a.err == nil && a.offer.Release.Manifest().Version > floor && (known == nil || known.Release.Digest() != a.offer.Release.Digest()):
		m := a.offer.Release.Manifest()
		slog.Info(fmt.Sprintf("found version %d (%s) at %s", m.Version, m.Name, a.url))
	}
}

// failed slows down after a download that did not succeed: towards those it
// was asked of, or, when they were not at fault, altogether. What it has
// fetched so far is kept by Fetch, so that the next try resumes.
func (l *loop) failed(o outcome) {
	now := time.Now()
	for _, d := range o.dropped {
		l.book.dropped(d.Provider, now)
	}
	v := l.chosen.Release
	l.attempt(l.chosen.Providers[0], &v, "failed", o.err)
	slog.Warn(fmt.Sprintf("version %d was not taken: %v", v.Manifest().Version, o.err))
	if len(o.dropped) == 0 {
		l.pause = min(max(2*l.pause, firstPause), longestPause)
		l.resume = now.Add(l.pause)
	}
	l.settled = time.Time{}
	l.show("looking")
}

// take is the whole road from a choice to the jump.
func (l *loop) take(ctx context.Context, c Choice) (dropped []Dropped, err error) {
	v, m := c.Release, c.Release.Manifest()
	if err := l.Ready(ctx, v); err != nil {
		return nil, err
	}
	var size int64
	for _, a := range m.Artifacts {
		size += a.Size
	}
	l.show("fetching")
	slog.Info(fmt.Sprintf("fetching version %d, %s from %s", m.Version, ui.Bytes(size), ui.Count(len(c.Providers), "provider")))
	start := time.Now()
	var payload Payload
	payload, dropped, err = l.Fetch(ctx, v, c.Providers)
	for _, d := range dropped {
		l.attempt(d.Provider, &v, "refused", d.Why)
		slog.Warn(fmt.Sprintf("dropped %s: %v", d.Provider, d.Why))
	}
	if err != nil {
		return dropped, err
	}
	dropped = nil // others made up for them
	defer func() { err = errors.Join(err, payload.Close()) }()
	slog.Info(fmt.Sprintf("fetched and verified version %d in %s", m.Version, ui.Duration(time.Since(start))))

	l.show("loading")
	start = time.Now()
	if err := payload.Load(ctx); err != nil {
		return nil, err
	}
	slog.Info(fmt.Sprintf("loaded version %d in %s", m.Version, ui.Duration(time.Since(start))))
	l.attempt(c.Providers[0], &v, "accepted", nil)
	l.show("jumping")
	slog.Info(fmt.Sprintf("jumping into version %d %s", m.Version, v.Digest()))
	return nil, l.Jump(ctx, v)
}

// attempt records what came of one provider or one download.
func (l *loop) attempt(provider string, v *trust.Verified, result string, err error) {
	a := statefile.Attempt{At: l.Now(), Provider: provider, Result: result}
	if err != nil {
		a.Code, a.Reason = string(refusal.CodeOf(err)), ui.Clean(err.Error())
	}
	if v != nil {
		a.Version, a.Digest = v.Manifest().Version, v.Digest().String()
	}
	l.report(func(u *statefile.Update) {
		u.Last = &a
		// A provider that does the same again takes no further place: nobody
		// can push what others did out of sight by repeating itself.
		history := slices.DeleteFunc(slices.Clone(u.History), func(old statefile.Attempt) bool {
			return old.Provider == a.Provider && old.Result == a.Result && old.Code == a.Code && old.Digest == a.Digest
		})
		history = slices.Insert(history, 0, a)
		u.History = history[:min(len(history), historyMax)]
	})
}

func (l *loop) show(name string) {
	l.report(func(u *statefile.Update) { u.State = name })
}

// report changes the shown state and hands it out.
func (l *loop) report(change func(*statefile.Update)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.shown)
	l.Report(l.shown)
}
