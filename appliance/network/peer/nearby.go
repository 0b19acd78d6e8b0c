package peer

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"phase/appliance/network/lan"
)

const (
	nearTime = 10 * time.Minute // an address heard on the LAN is remembered
	maxNear  = highConns / 2    // connections up to which nodes nearby are dialled unasked
)

// Nearby connects to the nodes that announce themselves on the LAN until ctx
// ends. One that is connected already through a relay is dialled again: two
// nodes that met in the DHT talk over the LAN.
func (n *Node) Nearby(ctx context.Context) error {
	found, err := lan.Peers(ctx)
	if err != nil {
		return err
	}
	for p := range found {
		id, err := ID(p.ID)
		if err != nil {
			slog.Debug("a node nearby is left out", "error", err)
			continue
		}
		if id == n.host.ID() {
			continue
		}
		var addresses []multiaddr.Multiaddr
		for _, at := range p.Addresses {
			if !at.Addr().IsLinkLocalUnicast() || at.Addr().Is4() { // IPv6 ones the library does not dial
				addresses = append(addresses, both(at)...)
			}
		}
		n.event("discovered", "peer", id, "interface", p.Interface, "addresses", p.Addresses)
		n.host.Peerstore().AddAddrs(id, addresses, nearTime)
		n.tasks.Go(func() { n.meet(ctx, peer.AddrInfo{ID: id, Addrs: addresses}) })
	}
	return nil
}

// both are the addresses for QUIC and for TCP.
func both(at netip.AddrPort) []multiaddr.Multiaddr {
	var list []multiaddr.Multiaddr
	udp, err := manet.FromNetAddr(net.UDPAddrFromAddrPort(at))
	if err == nil {
		list = append(list, udp.Encapsulate(quicV1))
	}
	tcp, err := manet.FromNetAddr(net.TCPAddrFromAddrPort(at))
	if err == nil {
		list = append(list, tcp)
	}
	return list
}

var quicV1 = multiaddr.StringCast("/quic-v1")

// meet connects to a node nearby, unless that is done or there are enough.
func (n *Node) meet(ctx context.Context, to peer.AddrInfo) {
	conns := n.host.Network().ConnsToPeer(to.ID)
	switch {
	case len(conns) > 0 && !allRelayed(conns), len(n.host.Network().Peers()) >= maxNear:
		return
	case len(conns) > 0:
		ctx = network.WithForceDirectDial(ctx, "it is nearby")
	}
	if err := n.Connect(ctx, to); err != nil && ctx.Err() == nil {
		n.event("unreachable", "peer", to.ID, "reason", err.Error())
		n.keeper.later(to)
	}
}
