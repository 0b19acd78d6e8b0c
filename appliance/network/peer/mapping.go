package peer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/multiformats/go-multiaddr"
)

// mappingInterval is the time between two looks at the port mappings. The
// library says nothing when it has got one.
const mappingInterval = 500 * time.Millisecond

// mappings are the ports that the router was asked to open, by UPnP or NAT-PMP.
// The library looks for a router once, when it starts; this looks again when the
// addresses of the machine have changed.
type mappings struct {
	of network.Network

	mu      sync.Mutex
	manager basichost.NATManager
	closed  bool
	last    []multiaddr.Multiaddr
}

func newMappings(of network.Network) *mappings {
	return &mappings{of: of, manager: basichost.NewNATManager(of)}
}

func (m *mappings) now() basichost.NATManager {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.manager
}

// GetMapping is what the router has opened for an address that is listened on;
// nil for nothing.
func (m *mappings) GetMapping(a multiaddr.Multiaddr) multiaddr.Multiaddr {
	return m.now().GetMapping(a)
}

// HasDiscoveredNAT says whether a router that opens ports was found.
func (m *mappings) HasDiscoveredNAT() bool { return m.now().HasDiscoveredNAT() }

// Close has the router close the ports.
func (m *mappings) Close() error {
	m.mu.Lock()
	m.closed = true
	last := m.manager
	m.mu.Unlock()
	return last.Close()
}

// again looks for a router anew.
func (m *mappings) again() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	last := m.manager
	m.manager = basichost.NewNATManager(m.of)
	m.mu.Unlock()
	_ = last.Close() // its router may be gone
}

// note takes the mappings as they are, and says whether they were others.
func (m *mappings) note(now []multiaddr.Multiaddr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	same := slices.EqualFunc(m.last, now, multiaddr.Multiaddr.Equal)
	m.last = now
	return !same
}

// has says whether an address is that of a mapping.
func (m *mappings) has(a multiaddr.Multiaddr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return multiaddr.Contains(m.last, a)
}

// mapped has the host look at its addresses whenever a mapping has come or gone:
// by itself it looks every five seconds.
func (n *Node) mapped(ctx context.Context) {
	if n.mappings == nil {
		return
	}
	ticker := time.NewTicker(mappingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var now []multiaddr.Multiaddr
		manager := n.mappings.now()
		for _, a := range n.swarm.ListenAddresses() {
			if mapped := manager.GetMapping(a); mapped != nil {
				now = append(now, mapped)
			}
		}
		if n.mappings.note(now) {
			n.event("mapped", "addresses", now)
			n.reach.refresh()
		}
	}
}
