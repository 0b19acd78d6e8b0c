package netlab

import (
	"fmt"
	"net/netip"
	"testing"
)

// Internet is a public segment, 45.45.45.0/24, with sites behind routers. No
// address in it is one of those kept for examples, which programs know not to
// be public. Nothing leads out of the test.
type Internet struct {
	*Switch
	sites    []site
	machines []*Machine
}

// site is what lies behind a router that changes no address.
type site struct{ network, router string }

// NewInternet makes one without machines.
func NewInternet(t testing.TB, wire Wire) *Internet {
	t.Helper()
	return &Internet{Switch: NewSwitch(t, "internet", wire)}
}

// Machine joins a new machine to the public segment, by its interface out0, with
// ways to all public sites.
func (w *Internet) Machine(t testing.TB, name, ip string) *Machine {
	t.Helper()
	m := NewMachine(t, name)
	w.Join(t, m, "out0", ip+"/24")
	for _, s := range w.sites {
		m.Route(t, s.network, s.router)
	}
	w.machines = append(w.machines, m)
	return m
}

// Home joins a new machine, by its interface eth0, to a LAN behind a router of
// its own. number, of 1 to 99, is that of the site: the router is 45.45.45.number
// outside and the first address of the LAN inside, which is 192.168.number.0/24,
// or 46.1.number.0/24 where the router changes no address. The machine has the
// second.
func (w *Internet) Home(t testing.TB, name string, number int, kind NAT) (host *Machine, port *Port) {
	t.Helper()
	outside := fmt.Sprintf("45.45.45.%d", number)
	inside := netip.AddrFrom4([4]byte{192, 168, byte(number), 0})
	router := w.Machine(t, name+"-router", outside)
	if kind == Open || kind == Firewall {
		inside = netip.AddrFrom4([4]byte{46, 1, byte(number), 0})
		s := site{inside.String() + "/24", outside}
		for _, m := range w.machines {
			if m != router {
				m.Route(t, s.network, s.router)
			}
		}
		w.sites = append(w.sites, s)
	}
	lan := NewSwitch(t, name, Wire{})
	gateway := inside.Next()
	lan.Join(t, router, "in0", gateway.String()+"/24")
	host = NewMachine(t, name)
	port = lan.Join(t, host, "eth0", gateway.Next().String()+"/24")
	host.Route(t, "0.0.0.0/0", gateway.String())
	router.NAT(t, kind, "in0", "out0")
	return host, port
}
