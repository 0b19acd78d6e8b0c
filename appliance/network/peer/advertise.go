package peer

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/p2p/host/observedaddrs"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// advertised are the addresses that are told to others: those that only this
// machine, or only one of its links, can use are left out, unless there are no
// others; and those that peers have dialled in vain.
func (n *Node) advertised(all []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	all = n.fresh(all)
	var list, loopback []multiaddr.Multiaddr
	for _, a := range all {
		switch {
		case n.withheld(a), n.reach != nil && n.reach.inVain(a):
		case manet.IsIPLoopback(a):
			loopback = append(loopback, a)
		case !manet.IsIP6LinkLocal(a):
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return loopback
	}
	return list
}

// fresh puts the machine's own addresses as they are now into what the library
// has of them, which is up to a minute old.
func (n *Node) fresh(all []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	own := n.gater.own()
	if len(own) == 0 {
		return all
	}
	all = slices.DeleteFunc(slices.Clone(all), func(a multiaddr.Multiaddr) bool {
		ip, err := manet.ToIP(a)
		return err == nil && ip.IsPrivate() && !relayed(a) && !n.gater.has(ip)
	})
	listen := slices.DeleteFunc(n.swarm.ListenAddresses(), func(a multiaddr.Multiaddr) bool { return len(a) < 2 || !canListen(a) })
	if now, err := manet.ResolveUnspecifiedAddresses(listen, own); err == nil {
		all = append(all, now...)
	}
	return multiaddr.Unique(all)
}

// observedDelay is how long the library is not asked about addresses that only
// others see. Each peer tells once in two minutes whether it could dial an
// address: the machine's own addresses and those that the router opened come
// first, as those of a router can hardly ever be dialled.
const observedDelay = 3 * time.Minute

// lateObserved are the addresses by which others see the node, later.
type lateObserved struct {
	*observedaddrs.Manager
	since time.Time
}

// AddrsFor are those of an address that is listened on.
func (l *lateObserved) AddrsFor(local multiaddr.Multiaddr) []multiaddr.Multiaddr {
	if time.Since(l.since) < observedDelay {
		return nil
	}
	return l.Manager.AddrsFor(local)
}

// withheld says whether an address is kept from others: a public one that is not
// the machine's own but a router's, that no peer has dialled yet and that the
// router was not asked to open. Nearly always it cannot be dialled, and a TCP
// connection that was tried in vain leaves traces in the routers that make the
// hole punching after it fail. Hole punching itself is told such addresses.
func (n *Node) withheld(a multiaddr.Multiaddr) bool {
	ip, err := manet.ToIP(a)
	if err != nil || relayed(a) || !manet.IsPublicAddr(a) || n.gater.has(ip) || n.reach == nil {
		return false
	}
	return !n.reach.dialled(a) && (n.mappings == nil || !n.mappings.has(a))
}
