package netlab

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"phase/tests/await"
)

func TestMain(m *testing.M) { os.Exit(m.Run()) }

// home is a machine behind a router of some kind, and two servers on the
// public segment, which have no way to what is behind the router but by it.
type home struct {
	public, lan *Switch
	router      *Machine
	host        *Machine
	inside      *socket // of the machine behind the router
	one, two    *socket // of the servers
}

// inside7000 is the machine's own address, routerAddr that of the router outside.
var (
	inside7000 = addrPort("192.168.7.2:7000")
	routerAddr = netip.MustParseAddr("45.45.45.1")
	server1    = addrPort("45.45.45.11:7000")
	server2    = addrPort("45.45.45.12:7000")
)

func newHome(t *testing.T, kind NAT) *home {
	t.Helper()
	h := &home{public: NewSwitch(t, "public", Wire{}), lan: NewSwitch(t, "lan", Wire{})}
	h.router, h.host = NewMachine(t, "router"), NewMachine(t, "host")
	h.public.Join(t, h.router, "out0", routerAddr.String()+"/24")
	h.lan.Join(t, h.router, "in0", "192.168.7.1/24")
	h.lan.Join(t, h.host, "eth0", "192.168.7.2/24")
	h.host.Route(t, "0.0.0.0/0", "192.168.7.1")
	h.router.NAT(t, kind, "in0", "out0")
	h.inside = h.host.udp(t, inside7000.String())
	for i, s := range []**socket{&h.one, &h.two} {
		server := NewMachine(t, []string{"server1", "server2"}[i])
		address := []netip.AddrPort{server1, server2}[i]
		h.public.Join(t, server, "eth0", address.Addr().String()+"/24")
		// The private network is nobody's outside: only where no address is
		// changed do the servers know the way back.
		if kind == Open || kind == Firewall {
			server.Route(t, "192.168.7.0/24", routerAddr.String())
		}
		*s = server.udp(t, address.String())
	}
	return h
}

// quiet shows that text, which was sent to the machine inside before, never
// came: what is sent by a way that is open comes first.
func (h *home) quiet(t *testing.T, text string) {
	t.Helper()
	h.inside.send("from inside", server1)
	h.one.send("marker", h.one.receive("from inside"))
	for {
		got, from := h.inside.next(patience)
		if got == text {
			t.Errorf("%q came in from %v", text, from)
		}
		if got == "marker" || !from.IsValid() {
			return
		}
	}
}

func TestNATMapping(t *testing.T) {
	for kind, same := range map[NAT]bool{Open: true, Mapped: true, EndpointIndependent: true, EndpointDependent: false, Firewall: true} {
		t.Run(string(kind), func(t *testing.T) {
			h := newHome(t, kind)
			h.inside.send("one", server1)
			h.inside.send("two", server2)
			first, second := h.one.receive("one"), h.two.receive("two")
			if (first == second) != same {
				t.Errorf("two servers see %v and %v", first, second)
			}
			outside := routerAddr
			if kind == Open || kind == Firewall {
				outside = inside7000.Addr()
			}
			if first.Addr() != outside || second.Addr() != outside {
				t.Errorf("two servers see %v and %v, and should see %v", first, second, outside)
			}
			h.one.send("answer", first)
			if from := h.inside.receive("answer"); from != server1 {
				t.Errorf("the answer comes from %v", from)
			}
		})
	}
}

// TestNATFiltering: what answers nothing comes in nowhere but where the router
// is open, and does not stop what is to be let in later.
func TestNATFiltering(t *testing.T) {
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			h := newHome(t, kind)
			target := netip.AddrPortFrom(routerAddr, inside7000.Port())
			if kind == Open || kind == Firewall {
				target = inside7000
			}
			h.two.send("unsolicited", target) // before anything went out
			if kind == Open {
				h.inside.receive("unsolicited")
				return
			}
			h.inside.send("out", server1)
			mapped := h.one.receive("out")
			h.two.send("unsolicited", mapped) // and after
			h.quiet(t, "unsolicited")
			// A punched hole: once the machine has sent to the second server,
			// that one gets in, if it knows the port.
			h.inside.send("punch", server2)
			seen := h.two.receive("punch")
			if (seen == mapped) == (kind == EndpointDependent) {
				t.Errorf("the servers see %v and %v", mapped, seen)
			}
			h.two.send("through", seen)
			h.inside.receive("through")
		})
	}
}

// TestUPnP: a port that the machine asks for is open to all, and then closed.
func TestUPnP(t *testing.T) {
	h := newHome(t, Mapped)
	gateway := addrPort("192.168.7.1:5351")
	client := h.host.udp(t, "192.168.7.2:0")
	ask := func(lifetime byte) []byte {
		// NAT-PMP, RFC 6886 §3.3: map UDP port 7000, as 7000 if that is free.
		request := []byte{0, 1, 0, 0, 7000 >> 8, 7000 & 255, 7000 >> 8, 7000 & 255, 0, 0, 0, lifetime}
		var answer string
		if err := await.Until(t.Context(), func() bool {
			client.send(string(request), gateway)
			answer, _ = client.next(patience / 60)
			return strings.HasPrefix(answer, "\x00\x81")
		}); err != nil {
			t.Fatalf("the router answers %x: %v", answer, err)
		}
		return []byte(answer)
	}
	if answer := ask(120); len(answer) != 16 || answer[3] != 0 {
		t.Fatalf("the router refuses: %x", answer)
	}
	public := netip.AddrPortFrom(routerAddr, 7000)
	h.two.send("unsolicited", public)
	h.inside.receive("unsolicited")
	h.inside.send("answer", server2)
	if from := h.two.receive("answer"); from != public {
		t.Errorf("the answer comes from %v", from)
	}
}
