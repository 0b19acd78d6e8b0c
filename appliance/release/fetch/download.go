package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/refusal"
)

const (
	// splitFrom is how much of a segment must be left for two to share it:
	// below that, a request costs more than it brings.
	splitFrom = 1 << 20
	// compareEvery and compareAfter: how often, and how long after it began,
	// a provider's pace is compared with that of an idle one.
	compareEvery = 500 * time.Millisecond
	compareAfter = 3 * time.Second
	// retries in a row, without progressWorth of bytes between them, before a
	// provider that dies or fails is dropped; firstPause doubles each time.
	retries       = 3
	progressWorth = 64 << 10
	firstPause    = 250 * time.Millisecond
)

// pool is what there is to fetch and who fetches it. Its lock guards the
// artifacts, their segments and the providers' counts.
type pool struct {
	mu        sync.Mutex
	cond      *sync.Cond
	artifacts []*artifact
	providers []*provider
	fail      context.CancelCauseFunc // ends the fetch with an error of ours

	progress       func(done, total int64)
	present, total int64
	received       int64
}

func newPool(progress func(done, total int64)) *pool {
	p := &pool{progress: progress}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *pool) add(a *artifact) {
	p.artifacts = append(p.artifacts, a)
	p.total += a.want.Size
	p.present += a.present()
	p.tell()
}

func (p *pool) tell() {
	if p.progress != nil {
		p.progress(p.present, p.total)
	}
}

func (p *pool) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cond.Broadcast()
}

// take waits until there is something for a provider to fetch and makes it the
// owner; nil when there never will be. cancel takes it away again.
func (p *pool) take(ctx context.Context, who *provider, cancel context.CancelCauseFunc) *segment {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ctx.Err() == nil && who.dropped == nil && !p.complete() {
		if !who.benched || !p.othersLeft(who) {
			if s := p.choose(who); s != nil {
				s.owner, s.from, s.since, s.cancel = who, s.pos, time.Now(), cancel
				return s
			}
		}
		p.cond.Wait()
	}
	return nil
}

// choose finds a segment for an idle provider: one that nobody owns, or half of
// the largest.
func (p *pool) choose(who *provider) *segment {
	var largest *segment
	for _, a := range p.artifacts {
		for _, s := range a.segments {
			left := s.end - s.pos - s.writing
			switch {
			case s.pos == s.end:
			case s.owner == nil && a.solo:
				if a.soloBy != who && s.pos > 0 {
					p.present -= a.present()
					a.reset()
					p.tell()
					s = a.segments[0]
				}
				a.soloBy = who
				return s
			case s.owner == nil:
				return s
			case !a.solo && !who.whole && left >= splitFrom && (largest == nil || left > largest.end-largest.pos-largest.writing):
				largest = s
			}
		}
	}
	if largest != nil {
		return largest.artifact.split(largest)
	}
	p.overtake(who)
	return nil
}

// errOvertaken takes a segment from a provider that others are much faster
// than. It is asked again only when nobody else is left.
var errOvertaken = errors.New("others are much faster")

// overtake looks for an owner so slow that the idle provider would be done
// much sooner, and takes its segment away.
func (p *pool) overtake(who *provider) {
	pace := who.pace()
	if pace == 0 {
		return
	}
	for _, a := range p.artifacts {
		for _, s := range a.segments {
			if s.owner == nil || s.owner == who || s.pos == s.end {
				continue
			}
			age := time.Since(s.since)
			if age < compareAfter {
				continue
			}
			left := float64(s.end - s.pos)
			need := left
			if a.solo {
				need = float64(a.want.Size)
			}
			theirs := float64(s.pos-s.from) / age.Seconds()
			if left > theirs*(2+4*need/pace) {
				s.cancel(errOvertaken)
			}
		}
	}
}

// give returns a segment with what became of it, and says how long its owner
// should pause.
func (p *pool) give(ctx context.Context, s *segment, err error) (pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.cond.Broadcast()
	who, got := s.owner, s.pos-s.from
	who.busy += time.Since(s.since)
	s.owner, s.cancel = nil, nil
	var local destinationError
	var last final
	var refused *refusal.Refusal
	switch {
	case err == nil:
		who.failures = 0
	case ctx.Err() != nil:
	case errors.As(err, &local):
		p.fail(local.error)
	case errors.Is(err, errOvertaken):
		who.benched = true
	case errors.As(err, &last) && last.Code == refusal.Slow && p.worthWhile(s, who, got):
		pause = who.opts.pause
	case errors.As(err, &last):
		who.drop(last.Refusal)
	case errors.As(err, &refused):
		if got >= progressWorth && !s.artifact.solo {
			who.failures = 0
		}
		// Who did not answer in time would take as long once more.
		if who.failures++; who.failures > retries || refused.Code == refusal.Slow {
			who.drop(refused)
			break
		}
		pause = who.opts.pause << who.failures
	default:
		who.drop(refusal.New(refusal.Unreachable, "%v", err))
	}
	return pause
}

// worthWhile says whether to go on with a provider whose connection stalled:
// where much is lost, TCP waits ever longer, and a new connection is faster. It
// must have brought more than the floor, all its time counted, and be the last.
func (p *pool) worthWhile(s *segment, who *provider, got int64) bool {
	return !s.artifact.solo && !p.othersLeft(who) && got >= progressWorth &&
		float64(got) >= float64(who.opts.Floor)*time.Since(s.since).Seconds()
}

// advance counts n bytes as written, and wakes the hasher now and then.
func (p *pool) advance(s *segment, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.writing = 0
	s.pos += n
	s.owner.bytes += n
	s.artifact.from[s.owner] = true
	p.present += n
	p.received += n
	p.tell()
	if s.pos == s.end || s.pos-s.told >= hashChunk {
		s.told = s.pos
		p.cond.Broadcast()
	}
}

// claim reserves up to n bytes of a segment for writing: fewer, or none, when
// somebody took its end meanwhile.
func (p *pool) claim(s *segment, n int) (pos, claimed int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.writing = min(int64(n), s.end-s.pos)
	return s.pos, s.writing
}

func (p *pool) span(s *segment) (pos, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.pos, s.end
}

func (p *pool) complete() bool {
	for _, a := range p.artifacts {
		if !a.verified {
			return false
		}
	}
	return true
}

// othersLeft says whether somebody but who can go on.
func (p *pool) othersLeft(who *provider) bool {
	for _, other := range p.providers {
		if other != who && other.dropped == nil && !other.benched {
			return true
		}
	}
	return false
}

// hashing says whether some artifact is all there and not yet decided on.
func (p *pool) hashing() bool {
	for _, a := range p.artifacts {
		if !a.verified && a.frontier() == a.want.Size {
			return true
		}
	}
	return false
}

// wait returns when everything is verified, or can no longer become so.
func (p *pool) wait(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.complete() {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !p.hashing() && !p.othersLeft(nil) && !p.benchLeft() {
			return p.nobody()
		}
		p.cond.Wait()
	}
}

func (p *pool) benchLeft() bool {
	for _, who := range p.providers {
		if who.dropped == nil && who.benched {
			return true
		}
	}
	return false
}

// worst orders codes by what a person should hear first.
var worst = []refusal.Code{refusal.Digest, refusal.Size, refusal.Format, refusal.Slow, refusal.Busy, refusal.Unreachable}

// nobody is the error when every provider was dropped.
func (p *pool) nobody() error {
	if len(p.providers) == 0 {
		return refusal.New(refusal.Unreachable, "no provider to fetch from; name one, or look for one on the network")
	}
	if len(p.providers) == 1 {
		who := p.providers[0]
		return refusal.New(who.dropped.Code, "%s: %s", who.url, who.dropped.Detail)
	}
	for _, code := range worst {
		var said []string
		for _, who := range p.providers {
			if who.dropped.Code == code {
				said = append(said, fmt.Sprintf("%s: %s", who.url, who.dropped.Detail))
			}
		}
		if len(said) > 0 {
			return refusal.New(code, "none of %d providers is left; %s", len(p.providers), strings.Join(said, "; "))
		}
	}
	return refusal.New(refusal.Unreachable, "none of %d providers is left", len(p.providers))
}

func (p *pool) report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Report{Bytes: p.received}
	for _, a := range p.artifacts {
		r.Resumed += a.kept
	}
	for _, who := range p.providers {
		r.Providers = append(r.Providers, ProviderReport{URL: who.url, Bytes: who.bytes, Dropped: who.dropped})
	}
	return r
}

// keep tells the regions what is worth keeping: of an artifact that is done
// everything, or the next fetch would begin it anew because another failed.
func (p *pool) keep() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, a := range p.artifacts {
		if k, ok := a.region.(Keeper); ok {
			errs = append(errs, k.Keep(a.frontier()))
		}
	}
	return errors.Join(errs...)
}
