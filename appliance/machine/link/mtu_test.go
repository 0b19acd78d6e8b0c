package link

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"phase/appliance/machine/settings"
	"phase/tests/netlab"
)

func mtuOption(b ...byte) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, b))
}

func TestWhatIsMadeOfAnMTU(t *testing.T) {
	for name, c := range map[string]struct {
		said, own, most, want int
		note                  string
	}{
		"nothing":           {0, 1500, 9000, 1500, ""},
		"less":              {1400, 1500, 9000, 1400, ""},
		"jumbo":             {9000, 1500, 9000, 9000, ""},
		"the card's own":    {1500, 1500, 9000, 1500, ""},
		"just IPv6":         {1280, 1500, 9000, 1280, ""},
		"too little for it": {1279, 1500, 9000, 1279, "no IPv6"},
		"no renewal by it":  {68, 1500, 9000, 576, "576 is used. With"},
		"not legal":         {67, 1500, 9000, 1500, "the least there may be is 68"},
		"more than it can":  {9000, 1500, 1500, 1500, "1500 is used"},
		"no number":         {unreadable, 1450, 1450, 1450, "not of two bytes"},
	} {
		mtu, note := fitMTU("eth0", c.said, c.own, c.most)
		if mtu != c.want || (note == "") != (c.note == "") || !strings.Contains(note, c.note) {
			t.Errorf("%s: %d, %q", name, mtu, note)
		}
	}
	for name, c := range map[string]struct{ now, most, want int }{
		"a card":                        {1500, 9000, 1500},
		"after a lease":                 {1400, 9000, 1500},
		"a virtual one in a tunnel":     {1450, 1450, 1450},
		"the same after a lease":        {1400, 1450, 1450},
		"a virtual one of large frames": {8500, 8500, 8500},
	} {
		if got := ownMTU(c.now, c.most); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
	for want, m := range map[int]dhcpv4.Modifier{1400: mtuOption(5, 120), unreadable: mtuOption(5), 0: mtuOption()} {
		if l, err := leaseOf(grant(m), testGrant, minLease); err != nil || l.mtu != want {
			t.Errorf("read as %+v, %v, want %d", l, err, want)
		}
	}
}

// TestMTUOfALease: what the server says now is what the interface has, also when
// a renewal changes it, and IPv6 that was off comes back as the mode has it.
func TestMTUOfALease(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	short := dhcpv4.WithLeaseTime(4)
	server := startDHCP(t, s, short, mtuOption(1400>>8, 1400&255))
	n := netlab.Start(t, "node", "manager", lab{Settings: settings.Options{Mode: settings.Local}, MinLease: 2 * time.Second})
	cable := s.Plug(t, n, "eth0")
	await(t, n, "eth0", "the server's MTU", func(i shown) bool {
		return i.Method == "dhcp" && i.MTU == 1400 && i.MTUFrom == "dhcp" && i.MTU6 == 1400 && i.has(linkLocal6)
	})
	server.set(short, mtuOption(9000>>8, 9000&255))
	await(t, n, "eth0", "another one by a renewal", func(i shown) bool { return i.Method == "dhcp" && i.MTU == 9000 })
	server.set(short, mtuOption(1000>>8, 1000&255))
	netlab.Wait(t, n, "no IPv6, and a word about it", func(s state) bool {
		i := s.named("eth0")
		return i.Method == "dhcp" && i.MTU == 1000 && i.MTU6 == 0 && !i.has(linkLocal6) &&
			slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "MTU of 1000 there is no IPv6") })
	})
	server.set(short)
	netlab.Wait(t, n, "the card's own, with IPv6 and no problem, when the server says none", func(s state) bool {
		i := s.named("eth0")
		return i.Method == "dhcp" && i.MTU == 1500 && i.MTUFrom == "card" && i.has(linkLocal6) && len(s.Problems) == 0
	})
	n.Do(t, func() {
		got, err := os.ReadFile("/proc/sys/net/ipv6/conf/eth0/accept_ra_defrtr")
		if err != nil || string(got) != "0\n" {
			t.Errorf("routers are heard in mode local once IPv6 is back: %q, %v", got, err)
		}
	})
	server.set(short, mtuOption(1400>>8, 1400&255))
	await(t, n, "eth0", "the server's MTU again", func(i shown) bool { return i.Method == "dhcp" && i.MTU == 1400 })
	cable.Pull(t)
	await(t, n, "eth0", "the card's own without a carrier", func(i shown) bool { return i.MTU == 1500 && i.MTUFrom == "card" })
}

// TestMTUOfARouter: what an IPv6 router says is for IPv6 alone, RFC 4861 §4.6.4.
func TestMTUOfARouter(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	awaitBridgeLinkLocal(t, s)
	n := netlab.Start(t, "node", "manager", lab{})
	s.Plug(t, n, "eth0")
	await(t, n, "eth0", "link-local", func(i shown) bool { return i.has(linkLocal6) })
	advertise(t, s, 5, 1, 0, 0, 0, 0, 1400>>8, 1400&255)
	await(t, n, "eth0", "the router's MTU", func(i shown) bool { return i.has("fd07::/64") && i.MTU6 == 1400 && i.MTU == 1500 })
}
