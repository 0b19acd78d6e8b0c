package fetch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
)

// segment is a run of bytes of an artifact. One source owns it at a time, or
// none; the download's lock guards every field.
type segment struct {
	artifact        *artifact
	start, pos, end int64 // [start,pos) is there, [pos,end) is wanted
	writing         int64 // bytes after pos that are being written right now
	woken           int64 // pos when the hasher was last woken

	by     *source // who brought [start,pos); nil for what an earlier fetch left
	owner  *source
	from   int64     // pos when the owner began
	since  time.Time // when that was
	cancel context.CancelCauseFunc
}

// artifact is one artifact on its way.
type artifact struct {
	name     string
	want     manifest.Artifact
	region   Region
	segments []*segment // in order, without gaps, from 0 to the size
	begun    int        // how often it was started again
	verified bool

	kept   int64 // bytes from an earlier fetch
	from   map[*source]bool
	solo   bool    // one provider at a time, so that a lie has a name
	soloBy *source // whose bytes are there
}

func newArtifact(name string, want manifest.Artifact, region Region) *artifact {
	have := region.Have()
	if have < 0 || have > want.Size {
		have = 0
	}
	a := &artifact{name: name, want: want, region: region, kept: have, from: map[*source]bool{}}
	a.segments = []*segment{{artifact: a, pos: have, end: want.Size}}
	return a
}

// frontier is how many bytes from the start are there without a hole.
func (a *artifact) frontier() int64 {
	for _, s := range a.segments {
		if s.pos < s.end {
			return s.pos
		}
	}
	return a.want.Size
}

// present is how many bytes are there, holes or not.
func (a *artifact) present() (n int64) {
	for _, s := range a.segments {
		n += s.pos - s.start
	}
	return n
}

// split gives away the second half of what is left of s.
func (a *artifact) split(s *segment) *segment {
	first := s.pos + s.writing
	middle := first + (s.end-first)/2
	next := &segment{artifact: a, start: middle, pos: middle, end: s.end, woken: middle}
	s.end = middle
	a.segments = slices.Insert(a.segments, slices.Index(a.segments, s)+1, next)
	return next
}

// own makes src the owner of what is left of s; what is there already becomes a
// segment of its own, so that each has one source.
func (a *artifact) own(s *segment, src *source) {
	if s.pos > s.start {
		there := &segment{artifact: a, start: s.start, pos: s.pos, end: s.pos, by: s.by}
		a.segments = slices.Insert(a.segments, slices.Index(a.segments, s), there)
		s.start = s.pos
	}
	s.owner, s.by, s.from, s.since = src, src, s.pos, time.Now()
}

// shorten leaves s with at most so much to fetch; the rest is free.
func (a *artifact) shorten(s *segment, most int64) {
	if end := s.pos + most; end < s.end {
		rest := &segment{artifact: a, start: end, pos: end, end: s.end, woken: end}
		s.end = end
		a.segments = slices.Insert(a.segments, slices.Index(a.segments, s)+1, rest)
	}
}

// hashChunk is read back at once; small beside any machine's memory.
const hashChunk = 256 << 10

// hash follows the frontier of an artifact, reads back what is there and
// decides, at the end, whether it is what was signed.
func (d *download) hash(ctx context.Context, a *artifact) {
	sum := sha256.New()
	buf := make([]byte, hashChunk)
	hashed, begun := int64(0), 0
	for {
		d.mu.Lock()
		for ctx.Err() == nil && begun == a.begun && hashed == a.frontier() && hashed < a.want.Size {
			d.cond.Wait()
		}
		if begun != a.begun {
			sum.Reset()
			hashed, begun = 0, a.begun
		}
		to := a.frontier()
		d.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		for hashed < to && ctx.Err() == nil {
			n := min(int64(len(buf)), to-hashed)
			if _, err := a.region.ReadAt(buf[:n], hashed); err != nil && !(err == io.EOF && hashed+n == a.want.Size) {
				d.fail(fmt.Errorf("reading back the %s: %w", a.name, err))
				return
			}
			sum.Write(buf[:n])
			hashed += n
		}
		if hashed == a.want.Size && d.decide(a, begun, names.Digest(sum.Sum(nil))) {
			return
		}
	}
}

// decide ends an artifact whose bytes are all there, or starts it
// again and drops the provider that is to blame. It reports whether the artifact is done.
func (d *download) decide(a *artifact, begun int, got names.Digest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.cond.Broadcast()
	if begun != a.begun {
		return false
	}
	if got == a.want.SHA256 {
		a.verified = true
		for src := range a.from {
			src.proved = src.proved || len(a.from) == 1 && a.kept == 0
		}
		return true
	}
	d.lied = d.lied || a.kept == 0
	switch from := a.from; {
	case len(from) > 1:
		// One of them lied; which one is not known.
		a.solo = true
	case len(from) == 1 && a.kept == 0:
		for src := range from {
			src.drop(refusal.New(refusal.Digest, "its %s is %s, the manifest says %s", a.name, got, a.want.SHA256))
			defer d.forget(src)
		}
	default:
		// What was kept is at least as likely wrong; the next one to give
		// it all will be known.
	}
	d.restart(a)
	return false
}
