package dht

import (
	"net/netip"
	"slices"

	kad "github.com/libp2p/go-libp2p-kad-dht"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// hasPlace says whether a peer may be in the routing table: any, private
// addresses included, as long as not too many share one address.
func hasPlace(table *kad.IpfsDHT, p peer.ID) bool {
	conns := table.Host().Network().ConnsToPeer
	place, ok := placeOf(conns(p))
	if !ok {
		return true
	}
	n := 0
	for _, other := range table.RoutingTable().ListPeers() {
		if at, ok := placeOf(conns(other)); ok && other != p && at == place {
			n++
		}
	}
	return n < samePlace
}

// placeOf is where a peer is connected from; none for a peer that is reached
// through a relay or from this machine itself.
func placeOf(conns []network.Conn) (netip.Prefix, bool) {
	for _, c := range conns {
		if ip, ok := remoteIP(c.RemoteMultiaddr()); ok && !ip.IsLoopback() {
			bits := 32
			if ip.Is6() {
				bits = 64
			}
			place, err := ip.WithZone("").Prefix(bits)
			return place, err == nil
		}
	}
	return netip.Prefix{}, false
}

func remoteIP(a multiaddr.Multiaddr) (netip.Addr, bool) {
	if _, err := a.ValueForProtocol(multiaddr.P_CIRCUIT); err == nil {
		return netip.Addr{}, false
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	return addr.Unmap(), ok
}

// thin takes peers out of the routing table that share an address with too many,
// those that came last: the library asks hasPlace long before it adds a peer, so
// that many may pass at once, and does not ask at all about those that it met in a
// search.
func (d *DHT) thin() {
	table, conns := d.table.RoutingTable(), d.config.Host.Network().ConnsToPeer
	list := table.GetPeerInfos()
	slices.SortStableFunc(list, func(a, b kb.PeerInfo) int { return a.AddedAt.Compare(b.AddedAt) })
	at := map[netip.Prefix]int{}
	for _, p := range list {
		place, ok := placeOf(conns(p.Id))
		if at[place]++; ok && at[place] > samePlace {
			table.RemovePeer(p.Id)
		}
	}
}
