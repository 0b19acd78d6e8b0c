package survey

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/fetch"
)

// Bounds on what strangers can cost one survey with Once.
const (
	maxHeard    = 4096 // announcements
	senderHeard = 64   // of one sender, so that one that announces much holds up only itself
	crowd       = 64   // providers: more than anyone names, or has
)

// result is an answer and whose it is.
type result struct {
	Answer
	from *provider
}

// round is one run of a Survey.
type round struct {
	*Survey
	looking context.CancelFunc // ends the finders
	heard   map[string]int     // by sender: announcements, if Once
	total   int                // of them
	asks    context.Context    // of the questions
	enough  context.CancelCauseFunc
	results chan result
	asking  int
	good    bool // there was a good answer
}

// Run asks, and hands each answer to each, one after the other, until ctx
// ends; then it returns the cause. With Once it returns nil when everyone found
// has answered.
func (s *Survey) Run(ctx context.Context, each func(Answer)) error {
	if s.Get == nil {
		client := fetch.NewClient()
		defer client.CloseIdleConnections()
		s.Get = func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			return fetch.Manifest(ctx, client, url, channel, arch)
		}
	}
	r := &round{Survey: s, heard: map[string]int{}, results: make(chan result)}
	r.asks, r.enough = context.WithCancelCause(ctx)
	defer r.enough(nil)
	look := ctx
	if look, r.looking = context.WithCancel(ctx); s.Once {
		look, r.looking = context.WithTimeout(ctx, s.Look)
	}
	defer r.looking()
	heard, err := merge(look, s.Finders)
	if err != nil {
		return err
	}
	s.begin()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var settle <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case a, ok := <-heard:
			if ok {
				r.hear(a)
			} else {
				heard = nil
			}
		case a := <-r.results:
			r.asking--
			r.good = r.good || a.Err == nil
			a.News = s.note(a)
			each(a.Answer)
		case <-s.again:
		case <-settle:
			r.enough(refusal.New(refusal.Slow, "others of %d providers had answered %v before", len(s.known.list), s.Settle))
		case <-timer.C:
		}
		wake := r.step(ctx, time.Now())
		if s.Once && heard == nil && r.asking == 0 {
			return nil
		}
		if s.Settle > 0 && settle == nil && heard == nil && r.good && len(s.known.list) > crowd {
			settle = time.After(s.Settle)
		}
		timer.Reset(wake)
	}
}

// merge is what all finders announce; nil when there are none. It ends with the
// last of them.
func merge(ctx context.Context, finders []Finder) (<-chan Announcement, error) {
	all := make(chan Announcement)
	var open sync.WaitGroup
	for _, f := range finders {
		found, err := f.Find(ctx)
		if err != nil {
			return nil, err
		}
		open.Go(func() {
			for a := range found {
				select {
				case all <- a:
				case <-ctx.Done():
				}
			}
		})
	}
	if len(finders) == 0 {
		return nil, nil
	}
	go func() {
		open.Wait()
		close(all)
	}()
	return all, nil
}

func (s *Survey) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = make(chan struct{}, 1)
	if s.AtOnce == 0 {
		s.AtOnce = 64
	}
	if s.AskTime == 0 {
		s.AskTime = 10 * time.Second
	}
	s.known = newProviders(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), s.Once)
	for _, url := range s.Named {
		s.known.hear(Announcement{Key: url, URLs: []string{url}}, true, time.Now())
	}
}

func (r *round) hear(a Announcement) {
	if r.Once {
		n := r.heard[a.sender()] + 1
		r.heard[a.sender()] = n
		if n <= senderHeard {
			r.total++
		}
		switch {
		case n == senderHeard+1:
			slog.Warn("too many announcements of one sender: the rest is left out", "interface", a.Interface, "source", a.Source, "asked", senderHeard)
		case r.total == maxHeard+1:
			slog.Warn("too many announcements: the rest is left out", "asked", maxHeard)
			r.looking()
		}
		if n > senderHeard || r.total > maxHeard {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known.hear(a, false, time.Now())
}

func (s *Survey) note(r result) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.answered(r.from, Offer{r.URL, r.Release}, r.Err, time.Now())
}

// step asks those whose turn it is and returns how long nothing more will be due.
func (r *round) step(ctx context.Context, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	wake := now.Add(recheck)
	if r.asking < r.AtOnce && r.asks.Err() == nil { // else an answer brings us back here, and a flood costs nothing
		var due []*provider
		due, wake = r.known.due(now)
		for _, p := range due[:min(len(due), r.AtOnce-r.asking)] {
			r.start(ctx, p, now)
		}
	}
	if r.asking == r.AtOnce {
		if more := r.known.hurry(now); !more.IsZero() && more.Before(wake) {
			wake = more
		}
	}
	return wake.Sub(now)
}

// start asks one provider beside the loop, which ends with ctx.
func (r *round) start(ctx context.Context, p *provider, now time.Time) {
	r.asking++
	asks, hurry := context.WithCancelCause(r.asks)
	p.asking, p.asked = true, now
	p.hurry = func() {
		hurry(refusal.New(refusal.Slow, "no answer within %v, and others wait to be asked", p.turnTime()))
	}
	go func(a Announcement, named bool) { // which may change while it is asked
		defer hurry(nil)
		answer := r.ask(asks, a, named)
		select {
		case r.results <- result{answer, p}:
		case <-ctx.Done():
		}
	}(p.Announcement, p.named)
}

// get gets the manifest of one provider. With Once there is no later question, so
// one that was named and is busy, as plasmd is while it hashes what it holds, is
// asked again until ctx ends.
func (r *round) get(ctx context.Context, named bool, url, channel, arch string) ([]byte, error) {
	for {
		data, err := r.Get(ctx, url, channel, arch)
		if !r.Once || !named || refusal.CodeOf(err) != refusal.Busy {
			return data, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(busyRetry):
		}
	}
}

// ask gets and verifies one provider's manifest, trying its URLs in turn.
func (r *round) ask(asks context.Context, a Announcement, named bool) Answer {
	answer := Answer{Announcement: a}
	channel, arch, err := r.line(a)
	if err != nil {
		answer.Err = err
		return answer
	}
	answer.Err = refusal.New(refusal.Unreachable, "it announced no address this node can reach")
	slow := refusal.New(refusal.Slow, "no answer from any of its addresses within %v", r.AskTime)
	asking, cancel := context.WithTimeoutCause(asks, r.AskTime, slow)
	defer cancel()
	for _, answer.URL = range a.URLs {
		var data []byte
		began := time.Now()
		if data, answer.Err = r.get(asking, named, answer.URL, channel, arch); answer.Err == nil {
			answer.Took = time.Since(began)
			answer.Release, answer.Err = r.Check(r.asks, answer.URL, channel, arch, data)
			break // it answered: another address of the same node would say the same
		}
		if asking.Err() != nil {
			break // however many addresses it gave, it has had its time
		}
	}
	return answer
}

// line is the release line to ask for.
func (s *Survey) line(a Announcement) (channel, arch string, err error) {
	if channel = s.Channel; channel == "" {
		if channel, err = names.ParseChannel(a.Channel); err != nil {
			return "", "", refusal.New(refusal.Channel, "it announces %v", err)
		}
	}
	if arch = s.Arch; arch == "" {
		if arch, err = names.ParseArch(a.Arch); err != nil {
			return "", "", refusal.New(refusal.Arch, "it announces %v", err)
		}
	}
	return channel, arch, nil
}
