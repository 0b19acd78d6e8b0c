package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"phase/appliance/compute/remote"
	"phase/appliance/network/capability"
)

// maxKnown is how many nodes are considered for one job.
const maxKnown = 512

// search has the nodes that may run one job, as they are found.
type search struct {
	d     *Dispatcher
	times Times
	want  capability.Requirement

	began time.Time
	found <-chan capability.Candidate // nil when no more will come
	ctx   context.Context             // until which they are looked for
	end   context.CancelFunc
	seen  map[string]bool // peer ids, those that were asked too
	known []capability.Candidate
	chose bool // one was picked
}

// search begins to look for nodes that fit. The caller calls end.
func (d *Dispatcher) search(ctx context.Context, want capability.Requirement) *search {
	s := &search{d: d, times: d.Times.orDefault(), want: want, seen: map[string]bool{}}
	s.begin(ctx)
	return s
}

func (s *search) begin(ctx context.Context) {
	s.began = time.Now()
	s.ctx, s.end = context.WithTimeout(ctx, s.times.Find)
	if s.d.Find != nil {
		s.found = s.d.Find(s.ctx, s.want)
	}
}

// again looks once more, where the last search was long ago: nodes come and go.
func (s *search) again(ctx context.Context) bool {
	if ctx.Err() != nil || time.Since(s.began) < 2*s.times.Find {
		return false
	}
	s.end()
	s.begin(ctx)
	return true
}

// add makes a node known that was found, once.
func (s *search) add(c capability.Candidate, more bool) {
	switch {
	case !more || len(s.seen) == maxKnown:
		s.found = nil
	case c.PeerID != s.d.Self && !s.seen[c.PeerID]:
		s.seen[c.PeerID] = true
		s.known = append(s.known, c)
	}
}

// ranked returns the nodes that fit and were not picked, the best first. It
// waits until there are n, and a little longer for better ones; where there are
// fewer, until no more are found.
func (s *search) ranked(n int) (fit []capability.Candidate, misfits []capability.Misfit) {
	var settled <-chan time.Time
	for {
		if fit, misfits = capability.Match(s.known, s.want); s.found == nil || s.chose && len(fit) >= n {
			return fit, misfits
		}
		if len(fit) >= n && settled == nil {
			settled = time.After(s.times.Settle)
		}
		select {
		case c, more := <-s.found:
			s.add(c, more)
		case <-settled:
			s.chose = true
		case <-s.ctx.Done():
			s.found = nil
		}
	}
}

// next picks the best node that was not picked before; ok is false where there
// is none.
func (s *search) next(ctx context.Context) (peerID string, ok bool) {
	fit, _ := s.ranked(1)
	if len(fit) == 0 && s.again(ctx) {
		fit, _ = s.ranked(1)
	}
	if len(fit) == 0 || ctx.Err() != nil {
		return "", false
	}
	s.chose = true
	peerID = fit[0].PeerID
	s.known = slices.DeleteFunc(s.known, func(c capability.Candidate) bool { return c.PeerID == peerID })
	return peerID, true
}

// maxReasons is how many nodes that do not fit are named.
const maxReasons = 8

// none is the error of a job for which too few nodes fit.
func none(ctx context.Context, needed, fit int, misfits []capability.Misfit) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var text strings.Builder
	switch {
	case needed > 1:
		fmt.Fprintf(&text, "; %d are needed, and %d fit", needed, fit)
	case len(misfits) == 0:
		text.WriteString(": none has answered; see plasmd peers")
	}
	for i, m := range misfits {
		if i == maxReasons {
			fmt.Fprintf(&text, "; and %d more do not fit", len(misfits)-i)
			break
		}
		fmt.Fprintf(&text, "; %s", m)
	}
	return fmt.Errorf("%w%s", remote.ErrNoNode, text.String())
}
