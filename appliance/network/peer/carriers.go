package peer

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// A relay that died says nothing, and the library notices after half a minute,
// in which nobody reaches this node.
const carrierInterval = 3 * time.Second

// autorelayTag is by what the library protects a relay that it has a place at.
const autorelayTag = "autorelay"

// carriers asks the relays that connections go through for a sign of life.
func (n *Node) carriers(ctx context.Context) {
	ticker := time.NewTicker(carrierInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		asked := map[peer.ID]bool{}
		for _, c := range n.host.Network().Conns() {
			id, ok := carrier(c.RemoteMultiaddr())
			if !ok && n.host.ConnManager().IsProtected(c.RemotePeer(), autorelayTag) {
				id, ok = c.RemotePeer(), true
			}
			if ok && !asked[id] {
				asked[id] = true
				n.tasks.Go(func() { n.ping(ctx, id) })
			}
		}
	}
}

// addressesThrough are the addresses of a peer that go through a relay.
func (n *Node) addressesThrough(relay, to peer.ID) []multiaddr.Multiaddr {
	return slices.DeleteFunc(n.host.Peerstore().Addrs(to), func(a multiaddr.Multiaddr) bool {
		id, ok := carrier(a)
		return !ok || id != relay
	})
}

// carrier is the relay that an address goes through.
func carrier(a multiaddr.Multiaddr) (peer.ID, bool) {
	if !relayed(a) {
		return "", false
	}
	text, err := a.ValueForProtocol(multiaddr.P_P2P) // the first
	if err != nil {
		return "", false
	}
	id, err := peer.Decode(text)
	return id, err == nil
}
