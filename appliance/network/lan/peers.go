package lan

import (
	"context"
	"net/netip"

	"phase/appliance/release/survey"
)

// Peer is a node that says it takes part in the network of nodes. It proves
// nothing: the connection to it does.
type Peer struct {
	ID        string           // its peer id, as announced
	Addresses []netip.AddrPort // on-link, IPv6 link-local ones with their zone; for UDP and TCP
	Interface string           // of this machine
}

// Peers looks for the nodes on every interface until ctx ends, when the channel
// is closed. Each is delivered when it is first heard and again when its
// addresses change.
func Peers(ctx context.Context) (<-chan Peer, error) {
	b, err := newBrowser(ctx, Finder{}, PeerService)
	if err != nil {
		return nil, err
	}
	found, out := make(chan survey.Announcement), make(chan Peer)
	go b.run(ctx, found)
	go func() {
		defer close(out)
		for a := range found {
			p := Peer{ID: a.Peer, Interface: a.Interface}
			for _, text := range a.URLs {
				if at, err := netip.ParseAddrPort(text); err == nil {
					p.Addresses = append(p.Addresses, at)
				}
			}
			select {
			case out <- p:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}
