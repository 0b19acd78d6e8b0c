package peer

import (
	"os"
	"slices"
	"strings"
	"testing"

	"phase/tests/netlab"
)

// best is the best path from a node behind one kind of router to a node behind
// another that theory allows.
func best(from, to netlab.NAT) Path {
	reachable := func(k netlab.NAT) bool { return k == netlab.Open || k == netlab.Mapped }
	switch {
	case reachable(to):
		return Direct
	case reachable(from):
		return Reversed
	case from == netlab.EndpointDependent || to == netlab.EndpointDependent:
		// The port that others see is not the one that the peer would have to hit.
		return Relayed
	}
	return HolePunch
}

// TestMatrix: between each two kinds of router the best path there can be is
// taken. Without PHASE_TIER=all there is one pair of each path.
func TestMatrix(t *testing.T) {
	t.Parallel()
	type pair struct{ from, to netlab.NAT }
	pairs := []pair{
		{netlab.EndpointIndependent, netlab.Open},
		{netlab.Mapped, netlab.Firewall},
		{netlab.EndpointIndependent, netlab.Firewall},
		{netlab.EndpointIndependent, netlab.EndpointIndependent},
		{netlab.EndpointDependent, netlab.EndpointIndependent},
	}
	if os.Getenv("PHASE_TIER") == "all" {
		pairs = nil
		for _, from := range netlab.Kinds {
			for _, to := range netlab.Kinds {
				pairs = append(pairs, pair{from, to})
			}
		}
	}
	for _, transport := range []string{"quic", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			w := newInternet(t, transport)
			relay := w.relay(t, "relay", "45.45.45.200")
			bootstrap := []string{at("45.45.45.200", transport, relay.id)}
			// Whether a node can be dialled is asked of several.
			for _, ip := range []string{"45.45.45.201", "45.45.45.202"} {
				m := w.Machine(t, "public"+ip[len(ip)-1:], ip)
				n := newLabNode(t, m, Config{Listen: listenOn(transport), Bootstrap: bootstrap})
				bootstrap = append(bootstrap, at(ip, transport, n.id))
			}
			homes := map[string]*labNode{}
			home := func(side string, number int, kind netlab.NAT) {
				name := side + "-" + string(kind)
				if homes[name] == nil {
					host, _ := w.Home(t, name, number+slices.Index(netlab.Kinds, kind), kind)
					homes[name] = newLabNode(t, host, Config{Listen: listenOn(transport), Bootstrap: bootstrap})
				}
			}
			for _, p := range pairs {
				home("a", 1, p.from)
				home("b", 11, p.to)
			}
			places := map[string][]string{}
			for name, n := range homes {
				if kind := netlab.NAT(name[2:]); kind != netlab.Open && kind != netlab.Mapped {
					places[name] = n.place(t, relay.id)
				}
			}
			for name, n := range homes {
				n.settle(t, netlab.NAT(name[2:]))
			}
			for _, p := range pairs {
				t.Run(string(p.from)+" to "+string(p.to), func(t *testing.T) {
					t.Parallel()
					a, b := homes["a-"+string(p.from)], homes["b-"+string(p.to)]
					a.reach(t, b, places["b-"+string(p.to)], best(p.from, p.to))
				})
			}
		})
	}
}

// settle waits until the node knows whether it can be dialled.
func (n *labNode) settle(t *testing.T, kind netlab.NAT) {
	t.Helper()
	want := Private
	if kind == netlab.Open || kind == netlab.Mapped {
		want = Public
	}
	n.until(t, "never "+string(want), func() bool {
		var is Reachability
		n.ask(t, "/reachability", &is)
		return is == want
	})
}

// reach connects to a node by all that is known of it, and waits for the path.
func (n *labNode) reach(t *testing.T, to *labNode, place []string, want Path) {
	t.Helper()
	addresses := slices.Concat(to.addresses(t), place)
	if problem := n.connect(t, addresses); problem != "" {
		t.Fatalf("%s does not reach %s at %v: %s", n.Machine.Name, to.Machine.Name, addresses, problem)
	}
	for _, side := range []struct{ of, peer *labNode }{{n, to}, {to, n}} {
		var is Info
		side.of.until(t, "the path to "+side.peer.Machine.Name+" is never "+string(want), func() bool {
			is, _ = side.of.peer(t, side.peer.id)
			if want == Relayed {
				// It stays: the other ways were tried.
				return is.Path == want && strings.Contains(is.Reason, "hole punching failed")
			}
			return is.Path == want
		})
		t.Logf("%s: %s by %s %s", side.of.Machine.Name, is.Path, is.Address, is.Reason)
	}
}
