package network

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"phase/tests/netlab"
)

// lan is a segment with no server on it.
func newLAN(t testing.TB) *netlab.Switch {
	t.Helper()
	return netlab.NewSwitch(t, "lan", netlab.Wire{Delay: time.Millisecond})
}

// onLAN starts a node in a machine of its own on the segment.
func onLAN(t testing.TB, on *netlab.Switch, number int, args ...string) (*node, *netlab.Port) {
	t.Helper()
	m := netlab.NewMachine(t, fmt.Sprintf("n%d", number))
	port := on.Join(t, m, "eth0", fmt.Sprintf("192.168.7.%d/24", number))
	return startNode(t, m, args...), port
}

// meet waits until each of two nodes says that it is connected to the other.
func meet(t testing.TB, a, b *node) time.Duration {
	t.Helper()
	return max(a.connected(t, b.id), b.connected(t, a.id))
}

// Two nodes on a LAN without any server find each other and work for each other.
func TestLANPair(t *testing.T) {
	t.Parallel()
	tries := 5
	if all() {
		tries = 20
	}
	var found times
	for try := range tries {
		t.Run(fmt.Sprint(try), func(t *testing.T) {
			on := newLAN(t)
			a, _ := onLAN(t, on, 1, "--accept", "all")
			b, _ := onLAN(t, on, 2, "--accept", "all")
			// From the start of the later one.
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(strings.Join(a.Lines(), "\n"))
				}
			})
			found = append(found, b.connected(t, a.id))
			a.connected(t, b.id)
			a.execute(t, b.id, "--on", b.id)
			b.execute(t, a.id, "--on", "auto")
			if p := a.peers(t); len(p.Peers) != 1 || p.Peers[0].Peer != b.id || p.Peers[0].Path != "direct" || p.Peers[0].Capability == nil {
				t.Errorf("plasmd peers: %+v", p)
			}
		})
	}
	t.Logf("found: %v", found)
	if len(found) == tries && found.share(0.95) > 20*time.Second {
		t.Errorf("p95 is %v", found.share(0.95)) // it is no measure of speed, but they do not find each other by chance
	}
}

// A node nearby that cannot be reached when it is discovered is dialled again.
func TestNearbyLater(t *testing.T) {
	t.Parallel()
	on := newLAN(t)
	a, _ := onLAN(t, on, 1)
	a.firewall(t, "table inet filter {\n chain incoming {\n  type filter hook input priority 0;\n  meta l4proto {tcp, udp} th dport 7420 drop\n }\n"+
		" chain leaving {\n  type filter hook output priority 0;\n  meta l4proto {tcp, udp} th dport 7420 drop\n }\n}\n")
	b, _ := onLAN(t, on, 2)
	b.until(t, "a vain attempt", func() bool { return b.says("unreachable", a.id) })
	a.firewall(t, "flush ruleset\n")
	b.connected(t, a.id)
}

// firewall loads rules for the packets of the machine.
func (n *node) firewall(t testing.TB, rules string) {
	t.Helper()
	if _, stderr, err := n.machine.Run(netlab.Program{Path: "nft", Args: []string{"-f", "-"}, Input: rules}); err != nil {
		t.Fatalf("nft: %v: %s", err, stderr)
	}
}
