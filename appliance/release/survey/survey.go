// Package survey asks unknown providers which release they have, and asks them
// fairly. Finders announce providers; each is asked over HTTP for the manifest
// it has, the answer is verified, and what came of it is said of each by its
// name. A provider that is slow has a deadline, which is short while others
// wait; one that lies is refused and asked later; and in a crowd of announcers
// all have their turn. Nothing an announcement says is believed.
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
	"phase/appliance/release/trust"
)

// Finder is a way to find providers.
type Finder interface {
	// Find delivers each provider when it is first announced and again when
	// anything in its announcement changes, until ctx ends or there are no
	// more; then it closes the channel.
	Find(ctx context.Context) (<-chan Announcement, error)
}

// Announcement says that a provider is there. It proves nothing.
type Announcement struct {
	Key       string   // tells announcements apart; the same one again replaces it
	Source    string   // the address it came from; empty: the sender is known by Key alone
	Interface string   // the interface of this machine it came by; empty when that means nothing
	URLs      []string // bases to ask, in the order to try
	Channel   string   // of the release line; may be empty where the survey names one
	Arch      string   // the same
	Version   uint64   // the newest it has
	Name      string   // of the node; may be empty, as Peer
	Peer      string   // the node's peer id
}

// sender is who made an announcement.
func (a Announcement) sender() string {
	if a.Source == "" {
		return a.Key
	}
	return a.Interface + " " + a.Source
}

// Answer is what came of asking one provider.
type Answer struct {
	Announcement
	URL     string         // of its URLs, the one that answered or was asked last; empty if it gave none
	Took    time.Duration  // for the manifest
	Release trust.Verified // not valid when there is an error
	Err     error          // a *refusal.Refusal unless ctx ended
	News    bool           // it did not answer the same the last time
}

// Survey is what is asked, and of whom.
type Survey struct {
	Finders []Finder
	Named   []string // base URLs that the owner named: asked before others, and never forgotten
	// Channel and Arch to ask for; empty: what the announcement says.
	Channel, Arch string
	// Get gets the manifest of a provider; nil is fetch.Manifest. Another URL of
	// the same provider is tried when it fails.
	Get func(ctx context.Context, url, channel, arch string) ([]byte, error)
	// Check verifies a manifest that the provider at url gave.
	Check func(ctx context.Context, url, channel, arch string, envelope []byte) (trust.Verified, error)

	AtOnce  int           // providers asked at once; 0 is 64: a question costs little
	AskTime time.Duration // for all URLs of one provider together; 0 is 10 s

	// Once asks each provider once for each announcement, and ends. Otherwise
	// all are asked again and again.
	Once bool
	// Look is how long the finders look, when Once.
	Look time.Duration
	// Settle, when Once and not 0, ends the survey of a crowd: so long after the
	// first good answer and the end of looking, the others are not waited for.
	Settle time.Duration

	mu    sync.Mutex
	known *providers
}

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

// Offers lists what providers have answered last that may be downloaded from
// now, in a fixed order, and when there may be more; zero for never.
func (s *Survey) Offers() ([]Offer, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return nil, time.Time{}
	}
	return s.known.offers(time.Now())
}

// Dropped notes that downloading from the provider at url came to nothing. Its
// offer is left out for 10 s, and for longer each time, up to 5 min.
func (s *Survey) Dropped(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.dropped(url, time.Now())
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
	go func(a Announcement) { // which may change while it is asked
		defer hurry(nil)
		answer := r.ask(asks, a)
		select {
		case r.results <- result{answer, p}:
		case <-ctx.Done():
		}
	}(p.Announcement)
}

// ask gets and verifies one provider's manifest, trying its URLs in turn.
func (r *round) ask(asks context.Context, a Announcement) Answer {
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
		if data, answer.Err = r.Get(asking, answer.URL, channel, arch); answer.Err == nil {
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
