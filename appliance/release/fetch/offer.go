package fetch

import (
	"context"
	"sync"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
)

// Offer is what one provider has, verified, or why that is not to be had.
type Offer struct {
	URL     string
	Release trust.Verified
	// Err is a *refusal.Refusal unless ctx ended; Release is then not valid.
	Err error
}

const (
	// asksAtOnce bounds how many providers are asked at the same time: a segment
	// may hold thousands that claim to be one, and some hundreds that are silent
	// should not make an honest one wait for its turn.
	asksAtOnce = 512
	// crowd is how many are more than anybody names, or has. Of a crowd not all
	// are waited for: once one has something good, the others have settle.
	crowd  = 64
	settle = 2 * time.Second
)

// Offers asks every provider for its manifest, at the same time, and holds
// each answer against the root and the policy. The result is in the order of
// the URLs. A provider takes at most ten seconds, so a hostile one delays the
// others' answers by no more.
func Offers(ctx context.Context, urls []string, root trust.Root, policy trust.Policy) []Offer {
	client := NewClient()
	defer client.CloseIdleConnections()
	asking, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	settled := sync.OnceFunc(func() {
		if len(urls) > crowd {
			time.AfterFunc(settle, func() {
				enough(refusal.New(refusal.Slow, "others of %d providers had answered %v before", len(urls), settle))
			})
		}
	})
	offers := make([]Offer, len(urls))
	turns := make(chan struct{}, asksAtOnce)
	var asks sync.WaitGroup
	for i, url := range urls {
		turns <- struct{}{}
		asks.Go(func() {
			defer func() { <-turns }()
			offers[i] = Offer{URL: url}
			data, err := Manifest(asking, client, url, policy.Channel, policy.Arch)
			if err == nil {
				if offers[i].Release, err = root.Verify(data, policy); err == nil {
					settled()
				}
			}
			offers[i].Err = err
		})
	}
	asks.Wait()
	return offers
}
