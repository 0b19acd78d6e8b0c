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

// segment is a run of bytes of an artifact. One provider owns it at a time, or
// nobody; the pool's lock guards every field.
type segment struct {
	artifact        *artifact
	start, pos, end int64 // [start,pos) is there, [pos,end) is wanted
	writing         int64 // bytes after pos that are being written right now
	told            int64 // pos when the pool was last woken

	owner  *provider
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
	begun    int        // how often it was begun anew
	verified bool

	kept   int64 // bytes from an earlier fetch
	from   map[*provider]bool
	solo   bool      // one provider at a time, so that a lie has a name
	soloBy *provider // whose bytes are there
}

func newArtifact(name string, want manifest.Artifact, region Region) *artifact {
	have := region.Have()
	if have < 0 || have > want.Size {
		have = 0
	}
	a := &artifact{name: name, want: want, region: region, kept: have, from: map[*provider]bool{}}
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

// reset begins the artifact anew. Nobody may own a segment of it.
func (a *artifact) reset() {
	a.segments = []*segment{{artifact: a, end: a.want.Size}}
	a.from = map[*provider]bool{}
	a.kept, a.soloBy = 0, nil
	a.begun++
}

// split gives away the second half of what is left of s.
func (a *artifact) split(s *segment) *segment {
	first := s.pos + s.writing
	middle := first + (s.end-first)/2
	next := &segment{artifact: a, start: middle, pos: middle, end: s.end, told: middle}
	s.end = middle
	a.segments = slices.Insert(a.segments, slices.Index(a.segments, s)+1, next)
	return next
}

// hashChunk is read back at once; small beside any machine's memory.
const hashChunk = 256 << 10

// hash follows the frontier of an artifact, reads back what is there and
// decides, at the end, whether it is what was signed.
func (p *pool) hash(ctx context.Context, a *artifact) {
	sum := sha256.New()
	buf := make([]byte, hashChunk)
	hashed, begun := int64(0), 0
	for {
		p.mu.Lock()
		for ctx.Err() == nil && begun == a.begun && hashed == a.frontier() && hashed < a.want.Size {
			p.cond.Wait()
		}
		if begun != a.begun {
			sum.Reset()
			hashed, begun = 0, a.begun
		}
		to := a.frontier()
		p.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		for hashed < to && ctx.Err() == nil {
			n := min(int64(len(buf)), to-hashed)
			if _, err := a.region.ReadAt(buf[:n], hashed); err != nil && !(err == io.EOF && hashed+n == a.want.Size) {
				p.fail(fmt.Errorf("reading back the %s: %w", a.name, err))
				return
			}
			sum.Write(buf[:n])
			hashed += n
		}
		if hashed == a.want.Size && p.decide(a, begun, names.Digest(sum.Sum(nil))) {
			return
		}
	}
}

// decide ends an artifact whose bytes are all there, or begins it anew and
// lays the blame where it belongs. It reports whether the artifact is done.
func (p *pool) decide(a *artifact, begun int, got names.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.cond.Broadcast()
	if begun != a.begun {
		return false
	}
	if got == a.want.SHA256 {
		a.verified = true
		return true
	}
	switch from := a.from; {
	case len(from) > 1:
		// Somebody lied, and nobody can say who.
		a.solo = true
	case len(from) == 1 && a.kept == 0:
		for who := range from {
			who.drop(refusal.New(refusal.Digest, "its %s is %s, the manifest says %s", a.name, got, a.want.SHA256))
		}
	default:
		// What was kept is at least as likely wrong; the next one to give
		// it all will be known.
	}
	p.present -= a.present()
	a.reset()
	p.tell()
	return false
}
