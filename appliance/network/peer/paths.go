package peer

import (
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Path is how a peer is reached.
type Path string

// All paths, the best first.
const (
	Direct    Path = "direct"    // one dialled the other
	Reversed  Path = "reversed"  // it was asked through a relay, and dialled back
	HolePunch Path = "holepunch" // both dialled at once, asked through a relay
	Relayed   Path = "relay"     // everything goes through a relay
)

// paths knows how each connected peer is reached, and why no better way was
// found. It is told by the library: of connections, and of hole punching.
type paths struct {
	mu    sync.Mutex
	peers map[peer.ID]*path
}

// path is what is known of the way to one peer.
type path struct {
	kind    Path
	since   time.Time // this path
	relayed bool      // there was a relayed connection first
	punched bool      // punching began
	reason  string    // why punching came to nothing; "" if it did not
}

func newPaths() *paths { return &paths{peers: map[peer.ID]*path{}} }

// relayed says whether an address goes through a relay.
func relayed(a multiaddr.Multiaddr) bool {
	_, err := a.ValueForProtocol(multiaddr.P_CIRCUIT)
	return err == nil
}

// of returns what is known of the way to a peer.
func (p *paths) of(id peer.ID) (path, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.peers[id]
	if !ok {
		return path{}, false
	}
	return *known, true
}

// notifiee follows the connections of a node.
func (p *paths) notifiee(n *Node) network.Notifiee {
	return &network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			if kind, changed := p.connected(c.RemotePeer(), c.RemoteMultiaddr(), time.Now()); changed {
				n.metrics.path(kind)
				n.event("connected", "peer", c.RemotePeer(), "path", kind, "address", c.RemoteMultiaddr(), "direction", c.Stat().Direction)
				if kind == Relayed && c.Stat().Direction == network.DirOutbound && n.reachesOut() {
					select {
					case n.met <- c.RemotePeer():
					default: // there is much else to do
					}
				}
			}
		},
		DisconnectedF: func(net network.Network, c network.Conn) {
			id := c.RemotePeer()
			switch left := net.ConnsToPeer(id); {
			case len(left) == 0:
				p.gone(id)
				n.event("disconnected", "peer", id, "address", c.RemoteMultiaddr())
				n.keeper.lost(c)
			case !relayed(c.RemoteMultiaddr()) && allRelayed(left):
				p.fell(id, time.Now())
				n.event("connected", "peer", id, "path", Relayed, "address", left[0].RemoteMultiaddr())
			}
		},
	}
}

func allRelayed(conns []network.Conn) bool {
	for _, c := range conns {
		if !relayed(c.RemoteMultiaddr()) {
			return false
		}
	}
	return true
}

// connected notes a connection, and returns the path to the peer and whether it
// is another one than before.
func (p *paths) connected(id peer.ID, by multiaddr.Multiaddr, now time.Time) (Path, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.peers[id]
	if known == nil {
		known = &path{}
		p.peers[id] = known
	}
	was := known.kind
	switch {
	case relayed(by):
		known.relayed = true
		if was == "" {
			known.kind = Relayed
		}
	case was != "" && was != Relayed:
	case !manet.IsPublicAddr(by): // a router was in the way of neither
		known.kind = Direct
	case known.punched:
		known.kind = HolePunch
	case known.relayed:
		known.kind = Reversed
	default:
		known.kind = Direct
	}
	if known.kind == was {
		return was, false
	}
	known.since = now
	return known.kind, true
}

func (p *paths) gone(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, id)
}

// fell notes that only a relayed connection is left.
func (p *paths) fell(id peer.ID, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.peers[id]; known != nil {
		known.kind, known.since, known.punched = Relayed, now, false
	}
}

// Trace hears of hole punching (holepunch.EventTracer).
func (p *paths) Trace(e *holepunch.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.peers[e.Remote]
	if known == nil {
		return // it has gone meanwhile
	}
	switch what := e.Evt.(type) {
	case *holepunch.StartHolePunchEvt:
		known.punched = true
	case *holepunch.EndHolePunchEvt:
		if !what.Success {
			known.reason = "hole punching failed: " + what.Error
			slog.Info("network", "event", "holepunch failed", "peer", e.Remote, "reason", what.Error)
		}
	case *holepunch.ProtocolErrorEvt:
		known.reason = "hole punching could not begin: " + what.Error
	}
}
