package dispatch

import (
	"context"
	"sync"
	"time"

	"phase/appliance/network/capability"
)

// Book asks nodes what they can do, and keeps their answers for a short while.
// It is safe for concurrent use.
type Book struct {
	ask  func(ctx context.Context, peerID string) (capability.Candidate, error)
	keep time.Duration

	mu      sync.Mutex
	answers map[string]capability.Candidate
}

// The answers that a book keeps: how many, and by default for how long. What a
// node says of its load is old soon.
const (
	maxAnswers = 1024
	keepAnswer = 5 * time.Second
)

// NewBook returns a book that asks by a function, as remote.Client.Record, and
// keeps an answer for a time; 0 is five seconds. None is kept beyond its expiry.
func NewBook(ask func(ctx context.Context, peerID string) (capability.Candidate, error), keep time.Duration) *Book {
	if keep == 0 {
		keep = keepAnswer
	}
	return &Book{ask: ask, keep: keep, answers: map[string]capability.Candidate{}}
}

// Record returns what a node can do, from its last answer or a new one.
func (b *Book) Record(ctx context.Context, peerID string) (capability.Candidate, error) {
	if c, ok := b.kept(peerID, time.Now()); ok {
		return c, nil
	}
	c, err := b.ask(ctx, peerID)
	if err != nil {
		return c, err
	}
	now := time.Now()
	c.Expires = earlier(c.Expires, now.Add(b.keep))
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answers) >= maxAnswers {
		b.forget(now)
	}
	if len(b.answers) < maxAnswers {
		b.answers[peerID] = c
	}
	return c, nil
}

// kept is the last answer of a node, where it is good still.
func (b *Book) kept(peerID string, now time.Time) (capability.Candidate, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.answers[peerID]
	return c, ok && c.Expires.After(now)
}

// forget drops what is too old. The caller holds the lock.
func (b *Book) forget(now time.Time) {
	for peerID, c := range b.answers {
		if !c.Expires.After(now) {
			delete(b.answers, peerID)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// asking is how many nodes are asked at once for one job.
const asking = 16

// Find returns a Find that asks nodes of which only the peer ids are known: those
// that peers sends until it closes the channel, each once. One that does not
// answer within a time (Times.Ask) is left out.
func (b *Book) Find(peers func(ctx context.Context, want capability.Requirement) <-chan string, times Times) Find {
	within := times.orDefault().Ask
	return func(ctx context.Context, want capability.Requirement) <-chan capability.Candidate {
		ids, found := peers(ctx, want), make(chan capability.Candidate)
		next := make(chan string)
		var all sync.WaitGroup
		for range asking {
			all.Go(func() {
				for id := range next {
					one, cancel := context.WithTimeout(ctx, within)
					c, err := b.Record(one, id)
					cancel()
					if err != nil {
						continue // it cannot be asked: it is not there, or none of ours
					}
					select {
					case found <- c:
					case <-ctx.Done():
					}
				}
			})
		}
		go func() {
			defer close(found)
			defer all.Wait()
			defer close(next)
			hand(ctx, ids, next)
		}()
		return found
	}
}

// hand hands on each of the peer ids once, until there are no more or enough.
func hand(ctx context.Context, ids <-chan string, next chan<- string) {
	seen := map[string]bool{}
	for len(seen) < maxKnown {
		select {
		case id, more := <-ids:
			if !more {
				return
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			select {
			case next <- id:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
