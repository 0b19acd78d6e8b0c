package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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

// download is what there is to fetch and the sources it is fetched from. Its
// lock guards the artifacts, their segments and the sources' counts.
type download struct {
	mu        sync.Mutex
	cond      *sync.Cond
	artifacts []*artifact
	sources   []*source
	fail      context.CancelCauseFunc // ends the fetch with an error of ours
	lied      bool                    // bytes of somebody were wrong
	token     *artifact               // see proof; nil for none

	progress       func(done, total int64)
	present, total int64
	received       int64
}

func (d *download) add(a *artifact) {
	d.artifacts = append(d.artifacts, a)
	d.total += a.want.Size
	d.present += a.present()
	d.showProgress()
}

func (d *download) showProgress() {
	if d.progress != nil {
		d.progress(d.present, d.total)
	}
}

func (d *download) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cond.Broadcast()
}

// take waits until there is something for a provider to fetch and makes it the
// owner; nil when there never will be, or with errProve not yet. cancel takes it
// away again.
func (d *download) take(ctx context.Context, src *source, cancel context.CancelCauseFunc) (*segment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ctx.Err() == nil && src.dropped == nil && !d.complete() {
		if d.mustProve(src) {
			return nil, errProve
		}
		if !src.lastResort || !d.othersLeft(src) {
			if s := d.choose(src); s != nil {
				s.artifact.own(s, src)
				s.cancel = cancel
				if most := d.share(src); most > 0 && !s.artifact.solo {
					s.artifact.shorten(s, most)
					d.cond.Broadcast()
				}
				return s, nil
			}
		}
		d.cond.Wait()
	}
	return nil, nil
}

// choose finds a segment for an idle provider: one without an owner, or half of
// the largest.
func (d *download) choose(src *source) *segment {
	var largest *segment
	for _, a := range d.artifacts {
		for _, s := range a.segments {
			left := s.end - s.pos - s.writing
			switch {
			case s.pos == s.end:
			case s.owner == nil && a.solo:
				if a.soloBy != src && s.pos > 0 {
					d.restart(a)
					s = a.segments[0]
				}
				a.soloBy = src
				return s
			case s.owner == nil:
				return s
			case !a.solo && !src.whole && left >= splitFrom && (largest == nil || left > largest.end-largest.pos-largest.writing):
				largest = s
			}
		}
	}
	if largest != nil {
		return largest.artifact.split(largest)
	}
	d.overtake(src)
	return nil
}

// restart begins an artifact again. No segment of it may have an owner.
func (d *download) restart(a *artifact) {
	d.present -= a.present()
	a.segments = []*segment{{artifact: a, end: a.want.Size}}
	a.from = map[*source]bool{}
	a.kept, a.soloBy = 0, nil
	a.begun++
	d.showProgress()
}

// errOvertaken takes a segment from a provider that others are much faster
// than. It is asked again only when no other is left.
var errOvertaken = errors.New("others are much faster")

// overtake looks for an owner so slow that the idle provider would be done
// much sooner, and takes its segment away.
func (d *download) overtake(src *source) {
	pace := src.pace()
	if pace == 0 {
		return
	}
	for _, a := range d.artifacts {
		for _, s := range a.segments {
			if s.owner == nil || s.owner == src || s.pos == s.end {
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
func (d *download) give(ctx context.Context, s *segment, err error) (pause time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.cond.Broadcast()
	src, got := s.owner, s.pos-s.from
	src.busy += time.Since(s.since)
	s.owner, s.cancel = nil, nil
	if src.dropped != nil && src.dropped.Code == refusal.Digest {
		d.forget(src)
	}
	var local destinationError
	var last final
	var refused *refusal.Refusal
	switch {
	case err == nil:
		src.failures = 0
	case ctx.Err() != nil:
	case errors.As(err, &local):
		d.fail(local.error)
	case errors.Is(err, errOvertaken):
		src.lastResort = true
	case errors.As(err, &last) && last.Code == refusal.Slow && d.worthWhile(s, src, got):
		pause = src.opts.pause
	case errors.As(err, &last):
		src.drop(last.Refusal)
	case errors.As(err, &refused):
		if got >= progressWorth && !s.artifact.solo {
			src.failures = 0
		}
		// One that did not answer in time would take as long once more.
		if src.failures++; src.failures > retries || refused.Code == refusal.Slow {
			src.drop(refused)
			break
		}
		pause = src.opts.pause << src.failures
	default:
		src.drop(refusal.New(refusal.Unreachable, "%v", err))
	}
	return pause
}

// worthWhile says whether to go on with a provider whose connection stalled:
// where much is lost, TCP waits ever longer, and a new connection is faster. It
// must have brought more than the floor, all its time counted, and be the last.
func (d *download) worthWhile(s *segment, src *source, got int64) bool {
	return !s.artifact.solo && !d.othersLeft(src) && got >= progressWorth &&
		float64(got) >= float64(floorRate)*time.Since(s.since).Seconds()
}

// advance counts n bytes as written, and wakes the hasher now and then.
func (d *download) advance(s *segment, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.writing = 0
	s.pos += n
	s.owner.bytes += n
	s.artifact.from[s.owner] = true
	d.present += n
	d.received += n
	d.showProgress()
	if s.pos == s.end || s.pos-s.woken >= hashChunk {
		s.woken = s.pos
		d.cond.Broadcast()
	}
}

// claim reserves up to n bytes of a segment for writing: fewer, or none, when
// another source took its end meanwhile.
func (d *download) claim(s *segment, n int) (pos, claimed int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.writing = min(int64(n), s.end-s.pos)
	return s.pos, s.writing
}

func (d *download) span(s *segment) (pos, end int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.pos, s.end
}

func (d *download) complete() bool {
	return !slices.ContainsFunc(d.artifacts, func(a *artifact) bool { return !a.verified })
}

// othersLeft says whether a source other than src can go on.
func (d *download) othersLeft(src *source) bool {
	return slices.ContainsFunc(d.sources, func(s *source) bool {
		return s != src && s.dropped == nil && !s.lastResort
	})
}

// hashing says whether some artifact is all there and not yet decided on.
func (d *download) hashing() bool {
	return slices.ContainsFunc(d.artifacts, func(a *artifact) bool {
		return !a.verified && a.frontier() == a.want.Size
	})
}

// wait returns when everything is verified, or can no longer become so.
func (d *download) wait(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if d.complete() {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !d.hashing() && !slices.ContainsFunc(d.sources, func(s *source) bool { return s.dropped == nil }) {
			return d.noneLeft()
		}
		d.cond.Wait()
	}
}

// worst orders codes by what a person should hear first.
var worst = []refusal.Code{refusal.Digest, refusal.Size, refusal.Format, refusal.Slow, refusal.Busy, refusal.Unreachable}

// noneLeft is the error when every provider was dropped.
func (d *download) noneLeft() error {
	if len(d.sources) == 0 {
		return refusal.New(refusal.Unreachable, "no provider to fetch from; name one, or look for one on the network")
	}
	if len(d.sources) == 1 {
		src := d.sources[0]
		return refusal.New(src.dropped.Code, "%s: %s", src.url, src.dropped.Detail)
	}
	rank := func(a, b *source) int {
		return cmp.Compare(slices.Index(worst, a.dropped.Code), slices.Index(worst, b.dropped.Code))
	}
	code := slices.MinFunc(d.sources, rank).dropped.Code
	var said []string
	for _, src := range d.sources {
		if src.dropped.Code == code {
			said = append(said, fmt.Sprintf("%s: %s", src.url, src.dropped.Detail))
		}
	}
	return refusal.New(code, "none of %d providers is left; %s", len(d.sources), strings.Join(said, "; "))
}

func (d *download) report() Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := Report{Bytes: d.received}
	for _, a := range d.artifacts {
		r.Resumed += a.kept
	}
	for _, src := range d.sources {
		r.Providers = append(r.Providers, ProviderReport{URL: src.url, Bytes: src.bytes, Dropped: src.dropped})
	}
	return r
}

// keep tells the regions what is worth keeping: of an artifact that is done
// everything, or the next fetch would begin it anew because another failed.
func (d *download) keep() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, a := range d.artifacts {
		errs = append(errs, a.region.Keep(a.frontier()))
	}
	return errors.Join(errs...)
}
