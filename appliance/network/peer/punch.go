package peer

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// The library punches once, when a peer comes in through a relay. That is lost
// when the node did not know its public address yet, or when a router remembers
// a connection that was tried in vain before, which routers do for two minutes.
const (
	punchInterval = 5 * time.Second
	punchFailed   = 150 * time.Second // before it is tried once more
	punchLongest  = 20 * time.Minute  // however often it failed
)

func (n *Node) openPuncher() error {
	service, err := holepunch.NewService(n.host, n.host.IDService(), n.punchable, holepunch.WithTracer(n.paths), holepunch.DirectDialTimeout(dialTime/2))
	if err != nil {
		return err
	}
	n.puncher = service
	n.onClose(service.Close)
	return nil
}

// punchable are all public addresses of the node, those of its router too.
func (n *Node) punchable() []multiaddr.Multiaddr {
	all := n.fresh(append(n.host.AllAddrs(), n.observed.Addrs(1)...))
	return slices.DeleteFunc(multiaddr.Unique(all), func(a multiaddr.Multiaddr) bool { return relayed(a) || !manet.IsPublicAddr(a) })
}

// punching is when to punch a hole to a peer again.
type punching struct {
	next time.Time
	wait time.Duration
}

// punch tries again where punching failed.
func (n *Node) punch(ctx context.Context) {
	if n.puncher == nil {
		return
	}
	ticker := time.NewTicker(punchInterval)
	defer ticker.Stop()
	waiting := map[peer.ID]punching{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if len(n.punchable()) == 0 {
				continue // the library would wait for one without end
			}
			waiting = n.punchDue(waiting, now)
		}
	}
}

// punchDue punches where it is time to, and returns when to do so next.
func (n *Node) punchDue(before map[peer.ID]punching, now time.Time) map[peer.ID]punching {
	after := map[peer.ID]punching{}
	for _, c := range n.host.Network().Conns() {
		id := c.RemotePeer()
		known, ok := n.paths.of(id)
		if !ok || known.kind != Relayed || c.Stat().Direction != network.DirInbound || now.Sub(known.since) < punchInterval {
			continue
		}
		p, again := before[id]
		switch {
		case !again && !known.punched: // one of both had no public address yet
			p = punching{now, 2 * punchInterval}
		case !again:
			p = punching{now.Add(punchFailed), 2 * punchFailed}
		}
		if !p.next.After(now) {
			p = punching{now.Add(p.wait), min(2*p.wait, punchLongest)}
			n.tasks.Go(func() { _ = n.puncher.DirectConnect(id) }) // paths hears how it went
		}
		after[id] = p
	}
	return after
}
