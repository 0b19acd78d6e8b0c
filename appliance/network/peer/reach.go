package peer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	relayInterval = 2 * time.Second  // between two looks for a relay
	relayBackoff  = 10 * time.Second // before a relay that gave no place is asked again
)

// Reachability is whether others can dial this node.
type Reachability string

// All of them. A node with none but private addresses, of its own or opened by
// its router, is private at once; one with a public address is unknown until a
// peer has dialled it.
const (
	Public  Reachability = "public"
	Private Reachability = "private"
	Unknown Reachability = "unknown"
)

// reach knows whether the node can be dialled from beyond its links, and tells
// the library, which asks relays for a place as long as it cannot. The library
// would wait for an answer of AutoNAT first, some 17 s, in which nobody reached
// a node behind a NAT.
type reach struct {
	node    *Node
	news    event.Subscription
	emitter event.Emitter

	mu     sync.Mutex
	state  Reachability
	able   []multiaddr.Multiaddr // addresses that peers have dialled
	unable []multiaddr.Multiaddr // and in vain
}

func newReach(n *Node) (*reach, error) {
	bus := n.host.EventBus()
	news, err := bus.Subscribe([]any{new(event.EvtHostReachableAddrsChanged), new(event.EvtLocalAddressesUpdated)}, eventbus.Name("reach"))
	if err != nil {
		return nil, err
	}
	n.onClose(news.Close)
	emitter, err := bus.Emitter(new(event.EvtLocalReachabilityChanged), eventbus.Stateful)
	if err != nil {
		return nil, err
	}
	n.onClose(emitter.Close)
	r := &reach{node: n, news: news, emitter: emitter, state: Unknown}
	return r, emitter.Emit(event.EvtLocalReachabilityChanged{Reachability: network.ReachabilityUnknown})
}

func (r *reach) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-r.news.Out():
			if !ok {
				return
			}
			r.judge()
		}
	}
}

// judge draws the conclusion from what peers have found when they dialled.
func (r *reach) judge() {
	able, unable, _ := r.node.host.ConfirmedAddrs()
	next := Private
	switch {
	case slices.ContainsFunc(able, manet.IsPublicAddr):
		next = Public
	case slices.ContainsFunc(r.node.host.AllAddrs(), func(a multiaddr.Multiaddr) bool {
		return manet.IsPublicAddr(a) && !r.node.withheld(a) && !multiaddr.Contains(unable, a)
	}):
		next = Unknown
	}
	r.mu.Lock()
	changed := r.state != next ||
		!slices.EqualFunc(r.able, able, multiaddr.Multiaddr.Equal) || !slices.EqualFunc(r.unable, unable, multiaddr.Multiaddr.Equal)
	r.state, r.able, r.unable = next, able, unable
	r.mu.Unlock()
	if changed {
		r.node.event("reachability", "is", next, "reachable", able, "unreachable", unable)
		r.refresh()
	}
}

// refresh has the host look at its addresses now.
func (r *reach) refresh() {
	of := network.ReachabilityUnknown
	switch r.now() {
	case Public:
		of = network.ReachabilityPublic
	case Private:
		of = network.ReachabilityPrivate
	}
	_ = r.emitter.Emit(event.EvtLocalReachabilityChanged{Reachability: of}) // fails only once it is closed
}

// inVain says whether peers have dialled an address in vain.
func (r *reach) inVain(a multiaddr.Multiaddr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return multiaddr.Contains(r.unable, a)
}

// dialled says whether a peer has dialled an address.
func (r *reach) dialled(a multiaddr.Multiaddr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return multiaddr.Contains(r.able, a)
}

func (r *reach) now() Reachability {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// relays names peers that may carry connections for this node: those connected
// that offer it, and, while there are none, those it was told of.
func (n *Node) relays(ctx context.Context, most int) <-chan peer.AddrInfo {
	var list []peer.AddrInfo
	for _, id := range n.host.Network().Peers() {
		offers, err := n.host.Peerstore().SupportsProtocols(id, proto.ProtoIDv2Hop)
		if err == nil && len(offers) > 0 {
			n.leaveRelayed(id)
			list = append(list, n.host.Peerstore().PeerInfo(id))
		}
	}
	for _, s := range n.keeper.known() {
		if !slices.ContainsFunc(list, func(l peer.AddrInfo) bool { return l.ID == s.ID }) {
			list = append(list, s)
		}
	}
	out := make(chan peer.AddrInfo, min(most, len(list)))
	defer close(out)
	for _, info := range list[:cap(out)] {
		out <- info
	}
	return out
}

// leaveRelayed closes the relayed connections to a peer that is connected without
// a relay too, as one is that was dialled both ways and answered both at once. The
// library asks no peer for a place while there is a relayed connection to it.
func (n *Node) leaveRelayed(id peer.ID) {
	conns := n.host.Network().ConnsToPeer(id)
	if allRelayed(conns) {
		return
	}
	for _, c := range conns {
		if relayed(c.RemoteMultiaddr()) {
			_ = c.Close() // one that is closed already is no news
		}
	}
}
