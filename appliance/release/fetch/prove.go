package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
)

// Among providers of which one has lied, others may. From then on one that has
// brought no artifact whole and right by itself shows that it can, with the
// smallest artifact there is, before it is asked for anything larger: a provider
// that lies about everything costs that much, and no more. Among many providers
// one that has brought much, and nothing yet that is known to be right, does so
// before anybody has lied.

// proofShare is how much smaller than all that is wanted the smallest artifact
// must be for a proof with it to be worth its bytes.
const proofShare = 8

// few providers are no crowd: they are not asked for a proof before somebody has
// lied, as it would cost more than it is worth.
const few = 5

// errProve says that a provider has to prove itself before it is given more.
var errProve = errors.New("it has to prove itself first")

// proof chooses the artifact that providers prove themselves with; the zero
// artifact when all are too large.
func (d *download) proof(m manifest.Manifest) {
	for name, want := range m.Artifacts {
		if want.Size*proofShare <= d.total && want.Size > 0 && (d.token == nil || want.Size < d.token.want.Size) {
			d.token = &artifact{name: name, want: want}
		}
	}
}

// mustProve is called with the lock held.
func (d *download) mustProve(src *source) bool {
	much := d.share(src) > 0 && src.bytes >= d.share(src)
	return (d.lied || much) && d.token != nil && !src.proved && d.othersLeft(src)
}

// share is how much one of a crowd may bring, and is given at once, before it has
// proved itself; 0 for any amount.
func (d *download) share(src *source) int64 {
	if len(d.sources) <= few || d.token == nil || src.proved {
		return 0
	}
	return d.total / proofShare
}

// forget takes back what a liar has brought to artifacts that are not whole, so
// that they need not be fetched again for it. It is called with the lock held.
func (d *download) forget(liar *source) {
	for _, a := range d.artifacts {
		if a.verified || !a.from[liar] {
			continue
		}
		for _, s := range a.segments {
			switch {
			case s.owner == liar:
				s.cancel(final{liar.dropped}) // and then it is given back
			case s.by == liar:
				d.present -= s.pos - s.start
				s.pos, s.woken, s.by = s.start, s.start, nil
			}
		}
		delete(a.from, liar)
		a.begun++ // what was hashed may be among it
	}
	d.showProgress()
}

// prove has a provider prove itself, and drops it when it cannot.
func (d *download) prove(ctx context.Context, src *source) {
	pause := src.opts.pause
	for failures := 0; ; failures++ {
		err := d.bringToken(ctx, src)
		if ctx.Err() != nil {
			return
		}
		var last final
		var refused *refusal.Refusal
		switch {
		case err == nil:
		case errors.As(err, &last):
			refused = last.Refusal
		case !errors.As(err, &refused):
			refused = refusal.New(refusal.Unreachable, "%v", err)
		case failures < retries && refused.Code != refusal.Slow:
			pause *= 2
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		defer d.cond.Broadcast()
		if src.proved = err == nil; !src.proved {
			src.drop(refused)
		}
		if !src.proved && refused.Code == refusal.Digest {
			d.lied = true
			d.forget(src)
		}
		return
	}
}

// bringToken fetches the artifact of the proof, and keeps nothing of it.
func (d *download) bringToken(ctx context.Context, src *source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatch(src.opts, cancel)
	defer watch.timer.Stop()
	resp, err := src.ask(ctx, d.token, 0, d.token.want.Size)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum, buf := sha256.New(), make([]byte, 128<<10)
	for left := d.token.want.Size; left > 0; {
		n, err := resp.Body.Read(buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		watch.count(n)
		sum.Write(buf[:n])
		d.count(src, n)
		switch {
		case err == io.EOF && left > 0:
			return refusal.New(refusal.Unreachable, "it ended the %s %d bytes too soon", d.token.name, left)
		case err != nil && err != io.EOF:
			return answer(ctx, "reading the "+d.token.name, err)
		}
	}
	if got := names.Digest(sum.Sum(nil)); got != d.token.want.SHA256 {
		return final{refusal.New(refusal.Digest, "its %s is %s, the manifest says %s", d.token.name, got, d.token.want.SHA256)}
	}
	return nil
}

// count counts bytes that came and are not kept.
func (d *download) count(src *source, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	src.bytes += int64(n)
	d.received += int64(n)
}
