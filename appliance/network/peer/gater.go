package peer

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"phase/appliance/machine/link"
)

// gater decides who may be talked to: it is asked before a packet is sent to a
// new address, and before a connection is taken.
type gater struct {
	onLink bool

	mu      sync.Mutex
	blocked map[peer.ID]bool
	links   []netip.Prefix // of the machine's interfaces: its addresses on them
}

func newGater(onLink bool, block []string) (*gater, error) {
	g := &gater{onLink: onLink, blocked: map[peer.ID]bool{}}
	for _, text := range block {
		id, err := ID(text)
		if err != nil {
			return nil, fmt.Errorf("blocking a peer: %w", err)
		}
		g.blocked[id] = true
	}
	return g, nil
}

// follow takes the interfaces as they are now.
func (g *gater) follow(list []link.Interface) {
	var links []netip.Prefix
	for _, i := range list {
		if i.Up {
			links = append(links, i.Addresses...)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.links = links
}

// own are the machine's addresses, as multiaddrs without a transport; none
// before the interfaces were looked at.
func (g *gater) own() (list []multiaddr.Multiaddr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.links {
		if a, err := manet.FromIP(p.Addr().AsSlice()); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// has says whether an address is the machine's own.
func (g *gater) has(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	g.mu.Lock()
	defer g.mu.Unlock()
	return ok && slices.ContainsFunc(g.links, func(p netip.Prefix) bool { return p.Addr() == a.Unmap() })
}

// near says whether an address is on one of the machine's own links. One whose
// IP address cannot be told, like that of a name or a relay, is not.
func (g *gater) near(a multiaddr.Multiaddr) bool {
	if relayed(a) {
		return false
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return false
	}
	address, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	address = address.Unmap()
	if address.IsLoopback() || address.IsLinkLocalUnicast() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.links {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

func (g *gater) allowed(id peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.blocked[id]
}

func (g *gater) InterceptPeerDial(id peer.ID) bool { return g.allowed(id) }

func (g *gater) InterceptAddrDial(_ peer.ID, a multiaddr.Multiaddr) bool {
	return !g.onLink || g.near(a)
}

// dialBack decides for what asks back whether an address can be dialled: one of
// IPv6 is not tried from a machine without, which would tell nothing of it.
type dialBack struct{ *gater }

func (d dialBack) InterceptAddrDial(id peer.ID, a multiaddr.Multiaddr) bool {
	if ip, err := manet.ToIP(a); err == nil && ip.To4() == nil && !slices.ContainsFunc(d.own(), func(own multiaddr.Multiaddr) bool {
		ip, err := manet.ToIP(own)
		return err == nil && ip.To4() == nil && manet.IsPublicAddr(own)
	}) {
		return false
	}
	return d.gater.InterceptAddrDial(id, a)
}

func (g *gater) InterceptAccept(c network.ConnMultiaddrs) bool {
	return !g.onLink || g.near(c.RemoteMultiaddr())
}

func (g *gater) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return g.allowed(id)
}

func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
