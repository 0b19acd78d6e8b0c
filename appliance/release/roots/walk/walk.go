// Package walk keeps the roots that a running program trusts: the one it was
// given, and those that follow it link by link, as providers hand them on. What
// a provider has is judged by the last of them, so that one who knows of a
// rotated root takes nothing any more that a key signed which it took back.
package walk

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"phase/appliance/base/refusal"
	"phase/appliance/release/fetch"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

// Roots are the roots known, from the one given on. They only grow. They are
// safe for concurrent use.
type Roots struct {
	mu    sync.Mutex
	links []trust.Root
}

// New trusts a root, those of later that follow it, and what will follow them.
func New(given trust.Root, later ...trust.Root) *Roots {
	r := &Roots{links: []trust.Root{given}}
	for _, root := range later {
		if r.Add(root.Raw()) != nil {
			break
		}
	}
	return r
}

// Last is the newest root known: the one that counts.
func (r *Roots) Last() trust.Root {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.links[len(r.links)-1]
}

// List are the roots known, the one given first.
func (r *Roots) List() []trust.Root {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]trust.Root{}, r.links...)
}

// Add takes a root, of the version after the last or of one that is known
// already. Errors are *refusal.Refusal: one that does not follow, another one
// of a version that is known ("equivocation"), or one too many ("size").
func (r *Roots) Add(data []byte) error {
	root, err := trust.ParseRoot(data)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if root.Version() > chain.MaxLinks {
		return refusal.New(refusal.Size, "root version %d, at most %d", root.Version(), chain.MaxLinks)
	}
	for _, known := range r.links {
		if known.Version() == root.Version() {
			if known.Digest() != root.Digest() {
				return refusal.New(refusal.Equivocation, "another root version %d is known", root.Version())
			}
			return nil
		}
	}
	next, err := r.links[len(r.links)-1].Next(data)
	if err != nil {
		return err
	}
	r.links = append(r.links, next)
	return nil
}

// From takes the roots that the provider at base has after the last one known.
// A provider that has none is no error; one that hands on a root that does not
// follow is, and so is one that cannot be asked.
func (r *Roots) From(ctx context.Context, client *http.Client, base string) error {
	for {
		data, err := fetch.Root(ctx, client, base, r.Last().Version()+1)
		if data == nil || err != nil {
			return err
		}
		if err := r.Add(data); err != nil {
			return err
		}
	}
}

// Manifest fetches the manifest that a provider has, as fetch.Manifest does,
// after the roots that it hands on were taken. What is wrong with those is the
// error only when nothing known vouches for the manifest: a provider that hands
// on nonsense could as well hand on nothing.
func (r *Roots) Manifest(ctx context.Context, client *http.Client, base, channel, arch string) ([]byte, error) {
	walked := r.From(ctx, client, base)
	switch refusal.CodeOf(walked) {
	case refusal.Unreachable, refusal.Slow, refusal.Busy:
		return nil, walked
	}
	if ctx.Err() != nil {
		return nil, errors.Join(walked, context.Cause(ctx))
	}
	data, err := fetch.Manifest(ctx, client, base, channel, arch)
	if err != nil || walked == nil {
		return data, err
	}
	if _, err := r.Last().VerifyHeld(data, trust.Any, trust.Any); err != nil {
		return nil, walked
	}
	return data, nil
}
