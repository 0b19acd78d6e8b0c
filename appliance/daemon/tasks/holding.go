package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"phase/appliance/base/names"
	"phase/appliance/base/ui"
	"phase/appliance/release/store"
)

// Source fills a store.
type Source struct {
	// Fill adds what can be had at once. Report takes what is wrong in the
	// source, in place of what was.
	Fill func(ctx context.Context, into *store.Store, report func([]store.Problem)) error
	// Follow, if not nil, goes on following the source until ctx ends.
	Follow func(ctx context.Context, report func([]store.Problem))
	// Promise says what is wrong when nothing is held; "" when that is fine.
	Promise string
}

// Holding is the task that hashes what is held: it fills the store, prints each
// release in it, and knows what is wrong with them. It is ready when all that
// can be had at once is in the store.
type Holding struct {
	store  *store.Store
	source Source
	log    io.Writer
	ready  chan struct{}

	mu       sync.Mutex
	err      error // errLoading, what went wrong, or nil
	problems []store.Problem
}

var errLoading = errors.New("the releases held are still being hashed")

// NewHolding returns the task that fills a store from a source.
func NewHolding(s *store.Store, from Source, log io.Writer) *Holding {
	return &Holding{store: s, source: from, log: log, ready: make(chan struct{}), err: errLoading}
}

// Ready is closed once the source has been read for the first time.
func (h *Holding) Ready() <-chan struct{} { return h.ready }

// Run fills the store and then prints what it holds as that changes.
func (h *Holding) Run(ctx context.Context) error {
	err := h.source.Fill(ctx, h.store, h.report)
	if ctx.Err() != nil {
		return nil
	}
	h.mu.Lock()
	h.err = err
	h.mu.Unlock()
	if err := h.Err(); err != nil {
		fmt.Fprintf(h.log, "problem: %v\n", err)
	}
	close(h.ready)
	var follow sync.WaitGroup
	defer follow.Wait()
	if h.source.Follow != nil {
		follow.Go(func() { h.source.Follow(ctx, h.report) })
	}
	printed := map[names.Digest]bool{}
	for {
		changed := h.store.Changed()
		for _, r := range h.store.Releases() {
			if !printed[r.Digest()] {
				printed[r.Digest()] = true
				m := r.Manifest()
				fmt.Fprintf(h.log, "holds release %s/%s version %d %s\n", m.Channel, m.Arch, m.Version, r.Digest())
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// Loading reports whether the source is still being read for the first time.
func (h *Holding) Loading() bool {
	select {
	case <-h.ready:
		return false
	default:
		return true
	}
}

// Err says what is wrong with what is held, nil when nothing is.
func (h *Holding) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	for _, p := range h.problems {
		if p.Held {
			return fmt.Errorf("%s, and what is served is no longer there", p)
		}
	}
	if h.source.Promise != "" && len(h.store.Releases()) == 0 {
		if len(h.problems) > 0 {
			return fmt.Errorf("%s; %s", h.source.Promise, h.problems[0])
		}
		return errors.New(h.source.Promise)
	}
	return nil
}

// Problems are what is wrong in the source as of the last look.
func (h *Holding) Problems() (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.problems {
		list = append(list, p.String())
	}
	return list
}

// report takes what is wrong in the source and prints what is new.
func (h *Holding) report(problems []store.Problem) {
	problems = problems[:min(len(problems), maxProblems)]
	h.mu.Lock()
	known := h.problems
	h.problems = problems
	h.mu.Unlock()
	for _, p := range problems {
		if !slices.ContainsFunc(known, func(k store.Problem) bool { return k.String() == p.String() }) {
			fmt.Fprintf(h.log, "problem: %s\n", ui.Clean(p.String()))
		}
	}
}
