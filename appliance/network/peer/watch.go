package peer

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"phase/appliance/machine/link"
)

// pingTime is how long a peer may take to answer when it is asked for a sign of
// life. A link that is full can make it wait for seconds.
const pingTime = 5 * time.Second

// watch follows the interfaces of the machine. When an address goes, so do the
// connections that used it; when anything changes, the others are asked for a
// sign of life, as a connection over a link that is gone looks well for minutes;
// and when an address comes, the seeds are dialled again.
func (n *Node) watch(ctx context.Context) {
	changed, err := link.Watch(ctx)
	if err != nil {
		slog.Warn("changes of the network are not noticed", "error", err)
		changed = nil
	}
	var before []netip.Addr
	for {
		list, err := link.Interfaces()
		if err != nil {
			slog.Warn("interfaces cannot be listed", "error", err)
		} else {
			n.gater.follow(list)
			now := addresses(list)
			if before != nil && !slices.Equal(before, now) {
				n.event("addresses", "are", now)
				n.mend(ctx, now)
			}
			before = now
		}
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changed:
			if !ok {
				changed = nil
			}
		}
	}
}

// addresses are those of interfaces that are connected, without loopback.
func addresses(list []link.Interface) []netip.Addr {
	all := []netip.Addr{}
	for _, i := range list {
		for _, p := range i.Addresses {
			if i.Up && !p.Addr().IsLoopback() {
				all = append(all, p.Addr())
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// mend closes the connections that a change has cut, and dials anew.
func (n *Node) mend(ctx context.Context, now []netip.Addr) {
	for _, c := range n.host.Network().Conns() {
		ip, err := manet.ToIP(c.LocalMultiaddr())
		local, ok := netip.AddrFromSlice(ip)
		if local = local.Unmap(); err == nil && ok && !local.IsLoopback() && !local.IsUnspecified() && !slices.Contains(now, local) {
			c.Close()
		}
	}
	n.relook()
	for _, id := range n.host.Network().Peers() {
		n.tasks.Go(func() { n.ping(ctx, id) })
	}
	n.keeper.again()
}

// relook has the library look at the addresses of the machine, of which it keeps
// a list for a minute, and at the router. What it has no list of it does not
// believe when peers tell how they see it.
func (n *Node) relook() {
	if !n.reachesOut() {
		return
	}
	// A new listener is the only thing that makes it drop its list.
	before := n.swarm.ListenAddresses()
	if err := n.swarm.Listen(multiaddr.StringCast("/ip4/127.0.0.1/tcp/0")); err == nil {
		n.swarm.ListenClose(slices.DeleteFunc(n.swarm.ListenAddresses(), func(a multiaddr.Multiaddr) bool { return multiaddr.Contains(before, a) })...)
	}
	n.tasks.Go(n.mappings.again)
	n.reach.refresh()
}

// ping closes the connections to a peer that does not answer.
func (n *Node) ping(ctx context.Context, id peer.ID) {
	asking, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "ping"), pingTime)
	defer cancel()
	// The library has no error for an answer that never came.
	result, answered := <-ping.Ping(asking, n.host, id)
	if answered && result.Error == nil || ctx.Err() != nil {
		return
	}
	reason := "no answer in " + pingTime.String()
	if result.Error != nil {
		reason = result.Error.Error()
	}
	n.event("silent", "peer", id, "reason", reason)
	_ = n.host.Network().ClosePeer(id) // what is wrong with a dead connection is no news
}

// events reports what the library says of addresses and protocols.
func (n *Node) events(ctx context.Context) {
	news, err := n.host.EventBus().Subscribe([]any{new(event.EvtLocalAddressesUpdated), new(event.EvtPeerIdentificationFailed)}, eventbus.Name("events"))
	if err != nil {
		slog.Warn("events of the network are not heard", "error", err)
		return
	}
	defer news.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-news.Out():
			if !ok {
				return
			}
			switch e := e.(type) {
			case event.EvtLocalAddressesUpdated:
				var list []string
				for _, a := range e.Current {
					list = append(list, a.Address.String())
				}
				n.event("advertised", "addresses", list)
			case event.EvtPeerIdentificationFailed:
				n.event("unidentified", "peer", e.Peer, "reason", e.Reason)
			}
		}
	}
}

// event reports something that happened in the network.
func (n *Node) event(what string, args ...any) {
	slog.Info("network", append([]any{"event", what}, args...)...)
}
