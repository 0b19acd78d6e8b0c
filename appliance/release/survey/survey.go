// Package survey asks unknown providers which release they have, and asks them
// fairly. Finders announce providers; each is asked over HTTP for the manifest
// it has, the answer is verified, and what came of it is said of each by its
// name. A provider that is slow has a deadline, which is short while others
// wait; one that lies is refused and asked later; and in a crowd of announcers
// all have their turn. Nothing an announcement says is believed.
package survey

import (
	"context"
	"sync"
	"time"

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
	again chan struct{} // has room for one call of Again
}

// Again has every provider that is known asked anew now, and not only once what
// it answered last has become old.
func (s *Survey) Again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return
	}
	s.known.askAll(time.Now())
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// Waiting is how many of the providers known were not asked, or have not answered,
// since a time.
func (s *Survey) Waiting(since time.Time) (waiting, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return 0, 0
	}
	return s.known.waiting(since), len(s.known.list)
}

// Providers are the base URLs of all that are known: first those whose last answer
// passed every check, and then, in any order, the others, which may have an older
// release all the same.
func (s *Survey) Providers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return nil
	}
	return s.known.urls()
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
