package fetch

import (
	"context"
	"sync"

	"phase/appliance/trust"
)

// Offer is what one provider has, verified, or why that is not to be had.
type Offer struct {
	URL     string
	Release trust.Verified
	// Err is a *trust.Refusal unless ctx ended; Release is then not valid.
	Err error
}

// asksAtOnce bounds how many providers are asked at the same time: a segment
// may hold thousands that claim to be one, and some tens that are silent should
// not make an honest one wait for its turn.
const asksAtOnce = 64

// Offers asks every provider for its manifest, at the same time, and holds
// each answer against the root and the policy. The result is in the order of
// the URLs. A provider takes at most ten seconds, so a hostile one delays the
// others' answers by no more.
func Offers(ctx context.Context, urls []string, root trust.Root, policy trust.Policy) []Offer {
	client := NewClient()
	defer client.CloseIdleConnections()
	offers := make([]Offer, len(urls))
	turns := make(chan struct{}, asksAtOnce)
	var asking sync.WaitGroup
	for i, url := range urls {
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			offers[i] = Offer{URL: url}
			data, err := Manifest(ctx, client, url, policy.Channel, policy.Arch)
			if err == nil {
				offers[i].Release, err = root.Verify(data, policy)
			}
			offers[i].Err = err
		})
	}
	asking.Wait()
	return offers
}
