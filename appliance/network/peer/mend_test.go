package peer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"phase/tests/netlab"
)

// TestRelayDies: a relay that falls silent, as one without power does, is
// noticed, and both who were connected through it are connected through another.
func TestRelayDies(t *testing.T) {
	t.Parallel()
	w := newInternet(t, "quic")
	relays := []*labNode{w.relay(t, "relay1", "45.45.45.200"), w.relay(t, "relay2", "45.45.45.201")}
	bootstrap := []string{at("45.45.45.200", "quic", relays[0].id), at("45.45.45.201", "quic", relays[1].id)}
	var homes [2]*labNode
	for i, name := range []string{"a", "b"} {
		host, _ := w.Home(t, name, i+1, netlab.EndpointDependent)
		homes[i] = newLabNode(t, host, Config{Listen: listenOn("quic"), Bootstrap: bootstrap})
	}
	a, b := homes[0], homes[1]
	place := append(b.place(t, relays[0].id), b.place(t, relays[1].id)...)
	if problem := a.connect(t, place); problem != "" {
		t.Fatal(problem)
	}
	through := func() string {
		is, _ := a.peer(t, b.id)
		return is.Address
	}
	dead, alive := relays[0], relays[1]
	if strings.Contains(through(), alive.id) {
		dead, alive = alive, dead
	}
	dead.Freeze()
	frozen := time.Now()
	a.until(t, "never connected through the other relay", func() bool { return strings.Contains(through(), alive.id) })
	t.Logf("connected through the other relay after %v", time.Since(frozen).Round(time.Millisecond))
	b.until(t, "the address by the dead relay is still told", func() bool { return !strings.Contains(strings.Join(b.addresses(t), " "), dead.id) })
	// It comes back, and is a relay again.
	dead.Thaw()
	b.place(t, dead.id)
}

// TestRelayedIsLeft: a connection through a relay to one who may be a relay is
// closed once there is a direct one: with both, no place would ever be asked for.
func TestRelayedIsLeft(t *testing.T) {
	t.Parallel()
	w := newInternet(t, "quic")
	relay := w.relay(t, "relay", "45.45.45.200")
	var homes [2]*labNode
	for i, name := range []string{"a", "b"} {
		host, _ := w.Home(t, name, i+1, netlab.EndpointIndependent)
		homes[i] = newLabNode(t, host, Config{Listen: listenOn("quic"), Relay: true, Bootstrap: []string{at("45.45.45.200", "quic", relay.id)}})
	}
	a, b := homes[0], homes[1]
	a.place(t, relay.id)
	if problem := a.connect(t, b.place(t, relay.id)); problem != "" {
		t.Fatal(problem)
	}
	a.until(t, "not the direct connection alone", func() bool {
		var list []string
		a.ask(t, "/connections", &list)
		list = slices.DeleteFunc(list, func(by string) bool { return !strings.HasSuffix(by, b.id) })
		return len(list) > 0 && !strings.Contains(strings.Join(list, " "), "p2p-circuit")
	})
}

// TestSameLAN: two nodes behind one router that met through a relay alone talk
// over their LAN.
func TestSameLAN(t *testing.T) {
	t.Parallel()
	w := newInternet(t, "quic")
	relay := w.relay(t, "relay", "45.45.45.200")
	bootstrap := []string{at("45.45.45.200", "quic", relay.id)}
	first, port := w.Home(t, "first", 1, netlab.EndpointIndependent)
	second := netlab.NewMachine(t, "second")
	port.Switch.Join(t, second, "eth0", "192.168.1.3/24")
	second.Route(t, "0.0.0.0/0", "192.168.1.1")
	a := newLabNode(t, first, Config{Listen: listenOn("quic"), Bootstrap: bootstrap})
	b := newLabNode(t, second, Config{Listen: listenOn("quic"), Bootstrap: bootstrap})
	a.place(t, relay.id)
	if problem := a.connect(t, b.place(t, relay.id)); problem != "" {
		t.Fatal(problem)
	}
	for _, side := range []struct{ of, peer *labNode }{{a, b}, {b, a}} {
		side.of.until(t, "not over the LAN", func() bool {
			is, _ := side.of.peer(t, side.peer.id)
			return is.Path == Direct && strings.HasPrefix(is.Address, "/ip4/192.168.1.")
		})
	}
	// Who is elsewhere is not told.
	elsewhere, _ := w.Home(t, "elsewhere", 2, netlab.EndpointIndependent)
	c := newLabNode(t, elsewhere, Config{Listen: listenOn("quic"), Bootstrap: bootstrap})
	c.place(t, relay.id)
	if problem := c.connect(t, a.place(t, relay.id)); problem != "" {
		t.Fatal(problem)
	}
	c.until(t, "no hole is punched", func() bool {
		is, _ := c.peer(t, a.id)
		return is.Path == HolePunch
	})
	for seen, want := range map[string]int{"45.45.45.2": 0, "45.45.45.1": 1} { // its own, and one that it makes up
		var told []string
		c.ask(t, "/introduction?of="+a.id+"&seen="+seen, &told)
		if len(told) != want {
			t.Errorf("who is seen by %s is told %q", seen, told)
		}
	}
}

// TestMended: a cable that is pulled and plugged in again, one that dies beyond
// the next switch, another address, and one that comes late.
func TestMended(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"quic", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			w := newInternet(t, transport)
			relay := w.relay(t, "relay", "45.45.45.200")
			host, port := w.Home(t, "host", 1, netlab.EndpointIndependent)
			other, _ := w.Home(t, "other", 2, netlab.EndpointIndependent)
			config := Config{Listen: listenOn(transport), Bootstrap: []string{at("45.45.45.200", transport, relay.id)}}
			host.RemoveAddress(t, "eth0", "192.168.1.2/24")
			a, b := newLabNode(t, host, config), newLabNode(t, other, config)
			b.place(t, relay.id)
			a.until(t, "a failure without an address", func() bool { return strings.Contains(strings.Join(a.Lines(), "\n"), "event=unreachable") })
			comes := func(address string) {
				host.AddAddress(t, "eth0", address)
				host.Route(t, "0.0.0.0/0", "192.168.1.1")
				a.started = time.Now()
				a.until(t, "the address is not told", func() bool {
					return strings.Contains(strings.Join(a.addresses(t), " "), strings.TrimSuffix(address, "/24")+"/")
				})
				a.place(t, relay.id)
			}
			alone := func() bool {
				_, ok := a.peer(t, relay.id)
				return !ok
			}
			comes("192.168.1.2/24")
			// What it knows of itself by then is enough for a hole to be punched.
			if problem := b.connect(t, a.place(t, relay.id)); problem != "" {
				t.Fatal(problem)
			}
			b.until(t, "no hole is punched", func() bool {
				is, _ := b.peer(t, a.id)
				return is.Path == HolePunch
			})
			host.RemoveAddress(t, "eth0", "192.168.1.2/24")
			comes("192.168.1.77/24")
			a.until(t, "the old address is still told", func() bool { return !strings.Contains(strings.Join(a.addresses(t), " "), "192.168.1.2/") })
			port.Pull(t)
			a.until(t, "still connected without a cable", alone)
			port.PlugIn(t)
			a.started = time.Now()
			a.place(t, relay.id)
			port.Cut()
			a.until(t, "still connected over a dead cable", alone)
			port.Restore()
			a.started = time.Now()
			a.place(t, relay.id)
		})
	}
}
