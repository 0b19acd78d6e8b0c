// Package bounds counts the streams that others have open to a node, all and
// each: one with many, or many with one each, take no more than their share.
package bounds

import (
	"net/netip"
	"sync"
)

// Bounds are how many streams of one protocol others may have open, each known by
// a K: a peer id, an address. It is safe for concurrent use.
type Bounds[K comparable] struct {
	most, each int

	mu   sync.Mutex
	open int
	of   map[K]int
}

// New bounds the streams of all together and of each.
func New[K comparable](most, each int) *Bounds[K] {
	return &Bounds[K]{most: most, each: each, of: map[K]int{}}
}

// Enter takes a place for a stream of one; false when there is none.
func (b *Bounds[K]) Enter(from K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.most || b.of[from] >= b.each {
		return false
	}
	b.open++
	b.of[from]++
	return true
}

// Leave gives the place back, once for each Enter that was true.
func (b *Bounds[K]) Leave(from K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.of[from]--; b.of[from] == 0 {
		delete(b.of, from)
	}
}

// Client is who asks, by the address and port of a request, for a count by
// address. Who has one IPv6 address has a network of them.
func Client(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return "" // a user of the socket
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is6() && !ip.IsLinkLocalUnicast() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}
