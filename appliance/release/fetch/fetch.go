// Package fetch downloads a verified release from providers that are not
// trusted. Each artifact is asked for by digest over HTTP, in ranges spread over
// all providers; its bytes go straight to where they will be used and are hashed
// there in order, while the rest still arrives. A provider that is slow, dies,
// answers nonsense or lies costs the part it had, and the others finish: a
// segment of an artifact is owned by one provider at a time, shrinks when an
// idle provider takes half of what is left of it, and is free again when its
// owner fails. When bytes of several providers together turn out wrong, that
// artifact is fetched again from one provider at a time, so that the next wrong
// digest has a name. Nothing more than an artifact's size is ever accepted, no
// redirect is followed, and nothing is decompressed.
package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// Destination says where the bytes of each artifact go.
type Destination interface {
	// Region returns the place for one artifact of exactly size bytes.
	Region(name string, size int64) (Region, error)
}

// Region is the place of one artifact. It is written at different offsets at
// the same time, and read back to be hashed.
type Region interface {
	io.WriterAt
	io.ReaderAt
	// Have is how many bytes from the start may be there already from an
	// earlier, interrupted fetch. They are hashed, not believed.
	Have() int64
	// Keep is told, when a fetch ends, how many bytes from the start are worth
	// keeping: all of them when the artifact is whole, even if another one is
	// not.
	Keep(prefix int64) error
}

// Options of a Release.
type Options struct {
	// Names are the artifacts wanted; empty means manifest.Required.
	Names []string
	// Progress, if set, is called with the bytes in place and the bytes
	// wanted, over all artifacts, often: it must not block. done falls when
	// bytes turn out wrong.
	Progress func(done, total int64)
	// Ways to providers besides TCP; see NewClient.
	Ways []Way

	// What tests hurry.
	client   *http.Client
	patience time.Duration
	pause    time.Duration // before the second try, doubling
}

const (
	// floorRate, in bytes a second, is far below any network a release is worth
	// fetching over (40 MiB would take 40 minutes) and far above a trickle. A
	// provider that stays below it is dropped.
	floorRate = 16 << 10
	// usualPatience is how long a provider may stay below floorRate: it keeps a
	// stalled provider's cost below ten seconds.
	usualPatience = 8 * time.Second
)

// Report says what came from where.
type Report struct {
	// Bytes received, and those of an earlier fetch that turned out right.
	Bytes, Resumed int64
	// Providers in the order they were given.
	Providers []ProviderReport
}

// ProviderReport is one provider's share.
type ProviderReport struct {
	URL   string
	Bytes int64
	// Dropped is why nothing more was asked of it; nil if it was good to the
	// end.
	Dropped *refusal.Refusal
}

// Release fetches the artifacts of v. When it returns nil, every byte of every
// artifact wanted is in its region and has the digest the manifest names. When
// no provider is left, the error is a *refusal.Refusal: "digest" when one
// lied, "size", "slow", "busy", or "unreachable"; the Report tells it for each.
// An error of the destination (a full disk) is returned as it is.
func Release(ctx context.Context, v trust.Verified, providers []string, dst Destination, opts Options) (Report, error) {
	if !v.Valid() {
		return Report{}, refusal.New(refusal.Signature, "only a verified release can be fetched")
	}
	m := v.Manifest()
	if len(opts.Names) == 0 {
		opts.Names = manifest.Required
	}
	if opts.client == nil {
		opts.client = NewClient(opts.Ways...)
		defer opts.client.CloseIdleConnections()
	}
	opts.patience = cmp.Or(opts.patience, usualPatience)
	opts.pause = cmp.Or(opts.pause, firstPause)

	d := &download{progress: opts.Progress}
	d.cond = sync.NewCond(&d.mu)
	// The smallest first: a provider that lies about everything is found out
	// where it costs least.
	names := slices.Clone(opts.Names)
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Compare(m.Artifacts[a].Size, m.Artifacts[b].Size)
	})
	for _, name := range slices.Compact(names) {
		want, ok := m.Artifacts[name]
		if !ok {
			return Report{}, fmt.Errorf("version %d has no artifact %q; it has %q", m.Version, name, slices.Sorted(maps.Keys(m.Artifacts)))
		}
		region, err := dst.Region(name, want.Size)
		if err != nil {
			return Report{}, fmt.Errorf("making room for the %s: %w", name, err)
		}
		d.add(newArtifact(name, want, region))
	}
	d.proof(m)
	for _, base := range providers {
		d.sources = append(d.sources, newSource(base, m, opts))
	}
	err := d.run(ctx)
	return d.report(), errors.Join(err, d.keep())
}

// run hashes and fetches until everything is there or no source is left.
func (d *download) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	d.fail = cancel
	// What waits for the download is woken when the context ends, and now and
	// then to compare a source's pace with the others'.
	context.AfterFunc(ctx, d.wake)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		tick := time.NewTicker(compareEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				d.wake()
			}
		}
	})
	for _, a := range d.artifacts {
		tasks.Go(func() { d.hash(ctx, a) })
	}
	for _, src := range d.sources {
		tasks.Go(func() { d.work(ctx, src) })
	}
	err := d.wait(ctx)
	cancel(nil)
	tasks.Wait()
	return err
}

// work takes a segment, fetches it from one source and gives it back, until
// there is none left for it.
func (d *download) work(ctx context.Context, src *source) {
	for {
		request, cancel := context.WithCancelCause(ctx)
		s, err := d.take(ctx, src, cancel)
		if s == nil {
			cancel(nil)
			if err == nil {
				return
			}
			d.prove(ctx, src)
			continue
		}
		err = d.stream(request, cancel, src, s)
		cancel(nil)
		if pause := d.give(ctx, s, err); pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}
