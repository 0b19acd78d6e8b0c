package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/network/peer"
	"phase/tests/await"
	"phase/tests/netlab"
)

// apart says whether nothing but a relay leads from a node behind one kind of
// router to a node behind another. By which of the other paths they reach each
// other is a matter of who knows what first: these nodes meet in the DHT, some
// before their routers are known. That it is the best one between two that are
// strangers is in the tests of network/peer.
func apart(from, to netlab.NAT) bool {
	reachable := func(k netlab.NAT) bool { return k == netlab.Open || k == netlab.Mapped }
	return !reachable(from) && !reachable(to) && (from == netlab.EndpointDependent || to == netlab.EndpointDependent)
}

// listenOn are the arguments that leave a node one transport.
func listenOn(transport string) []string {
	if transport == "quic" {
		return []string{"--listen", "/ip4/0.0.0.0/udp/7420/quic-v1"}
	}
	return []string{"--listen", "/ip4/0.0.0.0/tcp/7420"}
}

// world is an internet of real daemons that have one transport.
type world struct {
	*netlab.Internet
	transport string
	bootstrap []string // arguments
}

// newWorld makes an internet with public nodes that carry others' connections,
// relays of them, and two that do not: whether a node can be dialled is asked of
// several.
func newWorld(t *testing.T, transport string, relays int) (w *world, carriers []*node) {
	t.Helper()
	w = &world{Internet: netlab.NewInternet(t, netlab.Wire{Delay: 5 * time.Millisecond}), transport: transport}
	for i, name := range []string{"relay1", "relay2", "public1", "public2"} {
		ip := "45.45.45." + []string{"200", "201", "202", "203"}[i]
		var args []string
		switch {
		case i < relays:
			args = []string{"--relay"}
		case i < 2:
			continue
		}
		n := w.node(t, w.Machine(t, name, ip), args...)
		kind := "/udp/7420/quic-v1"
		if transport == "tcp" {
			kind = "/tcp/7420"
		}
		w.bootstrap = append(w.bootstrap, "--bootstrap", "/ip4/"+ip+kind+"/p2p/"+n.id)
		if i < relays {
			carriers = append(carriers, n)
		}
	}
	return w, carriers
}

// node starts a daemon in a machine of the world.
func (w *world) node(t *testing.T, m *netlab.Machine, more ...string) *node {
	t.Helper()
	return startNode(t, m, slices.Concat(listenOn(w.transport), w.bootstrap, more)...)
}

// behind starts a daemon that works for others behind a router of its own.
func (w *world) behind(t *testing.T, name string, number int, kind netlab.NAT) *node {
	t.Helper()
	m, _ := w.Home(t, name, number, kind)
	return w.node(t, m, "--accept", "all")
}

// reachable waits until others can reach the node, through a relay where not
// otherwise.
func (n *node) reachable(t *testing.T) {
	t.Helper()
	n.until(t, "an address by which it can be reached", func() bool {
		p, err := n.api.Peers(t.Context())
		return err == nil && slices.ContainsFunc(p.Addresses, func(a string) bool {
			return strings.Contains(a, "/p2p-circuit/") || p.Reachability == string(peer.Public) && !strings.HasPrefix(a, "/ip4/192.168.")
		})
	})
	t.Logf("%s: can be reached, at most %v after its start", n.machine.Name, time.Since(n.started).Round(time.Millisecond))
}

// onPath waits until the node reaches a peer through a relay, or not through one.
// A hole that could not be punched is tried again only when the routers have
// forgotten the attempt, after two minutes.
func (n *node) onPath(t *testing.T, other *node, relayed bool) {
	t.Helper()
	is := func() bool {
		info, ok := n.peer(t, other.id)
		return ok && (info.Path == peer.Relayed) == relayed
	}
	for range 3 {
		if await.Until(t.Context(), is) == nil {
			return
		}
	}
	n.until(t, fmt.Sprintf("the path to %s is through a relay: %t", other.machine.Name, relayed), is)
}

// Jobs go both ways between nodes behind any two kinds of router, through
// a relay where nothing else is possible. Without PHASE_TIER=all there is one pair of each path.
func TestJobsThroughRouters(t *testing.T) {
	t.Parallel()
	type pair struct{ from, to netlab.NAT }
	pairs := []pair{
		{netlab.EndpointIndependent, netlab.Open},
		{netlab.Mapped, netlab.Firewall},
		{netlab.EndpointIndependent, netlab.EndpointIndependent},
		{netlab.EndpointDependent, netlab.EndpointIndependent},
	}
	if all() {
		pairs = nil
		for _, from := range netlab.Kinds {
			for _, to := range netlab.Kinds {
				pairs = append(pairs, pair{from, to})
			}
		}
	}
	for _, transport := range []string{"quic", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			w, _ := newWorld(t, transport, 1)
			homes := map[string]*node{}
			home := func(side string, number int, kind netlab.NAT) *node {
				name := side + "-" + string(kind)
				if homes[name] == nil {
					homes[name] = w.behind(t, name, number+slices.Index(netlab.Kinds, kind), kind)
				}
				return homes[name]
			}
			for _, p := range pairs {
				home("a", 1, p.from)
				home("b", 11, p.to)
			}
			for _, n := range homes {
				n.reachable(t)
			}
			for _, p := range pairs {
				t.Run(string(p.from)+" to "+string(p.to), func(t *testing.T) {
					a, b := home("a", 1, p.from), home("b", 11, p.to)
					a.execute(t, b.id, "--on", b.id) // as they find each other
					for _, side := range []struct{ of, other *node }{{a, b}, {b, a}} {
						side.of.onPath(t, side.other, apart(p.from, p.to))
						side.of.execute(t, side.other.id, "--on", side.other.id)
						is, _ := side.of.peer(t, side.other.id)
						t.Logf("%s to %s: %s by %s %s", side.of.machine.Name, side.other.machine.Name, is.Path, is.Address, is.Reason)
						if said := side.of.path(side.other.id); said != is.Path {
							t.Errorf("%s: the log says %q, plasmd peers %q", side.of.machine.Name, said, is.Path)
						}
					}
				})
			}
		})
	}
}
