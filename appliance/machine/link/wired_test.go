package link

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"phase/tests/netlab"
)

// The networks of these tests are as people have them: something on them is
// late, odd, or exchanged while the node runs.

// TestServerAfterTwoMinutes: the questions of two minutes are lost, at the pace
// of the product in shorter time; then the server is there.
func TestServerAfterTwoMinutes(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	const scale = 100 // a second of the product is 10 ms here
	lost, longest := 0, time.Duration(0)
	for at, gap := time.Duration(0), time.Duration(firstGap); at < 2*time.Minute; gap = min(2*gap, maxGaps*firstGap) {
		at += gap
		lost++
		longest = max(longest, gap)
	}
	if lost < 10 || longest > 16*time.Second {
		t.Errorf("%d questions in two minutes, %v apart at the end", lost, longest)
	}
	s := netlab.NewSegment(t, "sw")
	server := startDHCP(t, s)
	server.mu.Lock()
	server.deaf = lost
	server.silent = true
	server.mu.Unlock()
	n := netlab.Start(t, "node", "manager", lab{Grace: time.Millisecond, FirstGap: firstGap / scale})
	s.Plug(t, n, "eth0")
	waiting := await(t, n, "eth0", "link-local meanwhile", func(i shown) bool { return i.Method == "link-local" && i.State == "up" })
	if waiting.Waiting != "for a DHCP server" || time.Since(waiting.Since) < 0 || time.Since(waiting.Since) > time.Hour {
		t.Errorf("it waits %q since %v", waiting.Waiting, waiting.Since)
	}
	server.setSilent(false)
	done := await(t, n, "eth0", "a lease by itself", func(i shown) bool { return i.Method == "dhcp" && !i.has(linkLocal4) })
	if done.Waiting != "" || done.Since.Before(waiting.Since) {
		t.Errorf("it still waits %q since %v, before since %v", done.Waiting, done.Since, waiting.Since)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if server.deaf > 0 {
		t.Errorf("%d of the questions were not asked", server.deaf)
	}
}

// TestCardExchanged: a card is pulled out of the running node and another one is
// put in, which is given the address of the first.
func TestCardExchanged(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	server := startDHCP(t, s)
	n := netlab.Start(t, "node", "manager", lab{HostName: "phase-1a2b3c4d"})
	first := s.Plug(t, n, "eth0")
	await(t, n, "eth0", "a lease", func(i shown) bool { return i.Method == "dhcp" })
	n.Do(t, func() {
		l, err := netlink.LinkByName("eth0")
		if err == nil {
			err = netlink.LinkDel(l)
		}
		if err != nil {
			t.Error(err)
		}
	})
	netlab.Wait(t, n, "no card", func(s state) bool { return len(s.Interfaces) == 0 && len(s.Problems) > 0 })
	second := s.Plug(t, n, "eth0")
	netlab.Wait(t, n, "a lease of the other card, and no problem", func(s state) bool {
		i := s.named("eth0")
		return i.MAC == second.MAC && i.Method == "dhcp" && i.has(linkLocal6) && len(s.Problems) == 0
	})
	if first.MAC == second.MAC {
		t.Error("the other card has the MAC of the first")
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	for _, m := range server.requests {
		if id := string(m.Options.Get(dhcpv4.OptionClientIdentifier)); id != "\x00phase-1a2b3c4d" {
			t.Errorf("a server cannot know the node again by %q", id)
		}
	}
}

// awaitState waits until a manager that was started with Again reports what was
// waited for.
func awaitState(t *testing.T, p *netlab.Process, what string, ok func(state) bool) (s state) {
	t.Helper()
	p.Await(t, what, func(line string) bool {
		s = state{}
		return json.Unmarshal([]byte(line), &s) == nil && ok(s)
	})
	return s
}

// TestTwoCardsOnOneSegment: a real server gives each its own address, each
// speaks for its own alone, what goes beyond goes by one of them, and all stays
// so.
func TestTwoCardsOnOneSegment(t *testing.T) {
	t.Parallel()
	lan := netlab.NewSwitch(t, "lan", netlab.Wire{})
	capture := lan.Capture()
	router, node := netlab.NewMachine(t, "router"), netlab.NewMachine(t, "node")
	lan.Join(t, router, "in0", "10.7.0.1/24", "fd07::1/64")
	server, _ := router.Dnsmasq(t, "in0", "--dhcp-range=10.7.0.10,10.7.0.99,255.255.255.0,2m", "--dhcp-option=option:router,10.7.0.1",
		"--enable-ra", "--ra-param=in0,high,5,600", "--dhcp-range=fd07::,ra-only,64,1h")
	lan.Wired(t, node, "eth0", "52:54:00:00:00:01")
	p := node.Again(t, "manager", lab{HostName: nodeName})
	whole := func(i shown) bool {
		return i.Method == "dhcp" && i.has("10.7.0.0/24") && i.has("fd07::/64") && i.has(linkLocal6) && !i.has(linkLocal4)
	}
	awaitState(t, p, "a lease on the first", func(s state) bool { return whole(s.named("eth0")) })
	lan.Wired(t, node, "eth1", "52:54:00:00:00:02")
	got := awaitState(t, p, "a lease on both", func(s state) bool { return whole(s.named("eth0")) && whole(s.named("eth1")) })
	if got.named("eth0").in("10.7.0.0/24") == got.named("eth1").in("10.7.0.0/24") {
		t.Fatalf("both have %v", got.named("eth0").Addresses)
	}
	settled := len(p.Lines())
	adverts := 0
	server.Await(t, "the router a few times more", func(line string) bool {
		if strings.Contains(line, "RTR-ADVERT(in0)") {
			adverts++
		}
		return adverts > 4
	})
	node.Do(t, func() error { return listen(t, "[::]:8080") })
	for _, name := range []string{"eth0", "eth1"} {
		for _, prefix := range []string{"10.7.0.0/24", "fd07::/64"} {
			router.Do(t, func() error { return dial(netip.AddrPortFrom(got.named(name).in(prefix), 8080)) })
		}
	}
	node.Do(t, func() error {
		routes, err := netlink.RouteGet(net.IPv4(45, 45, 45, 45))
		if err != nil || len(routes) != 1 || routes[0].Src.String() != got.named("eth0").in("10.7.0.0/24").String() {
			t.Errorf("the way beyond is %v, %v; want that of eth0", routes, err)
		}
		return nil
	})
	for _, line := range p.Lines()[settled:] {
		var s state
		if json.Unmarshal([]byte(line), &s) == nil && (!whole(s.named("eth0")) || !whole(s.named("eth1"))) {
			t.Errorf("an address comes and goes: %s", line)
		}
	}
	speakers(t, capture, got)
}

// speakers checks that each IPv4 address left the node by its own card alone. Of
// IPv6 the kernel chooses one card for all that goes to the segment.
func speakers(t *testing.T, capture *netlab.Capture, s state) {
	t.Helper()
	for _, f := range capture.Frames() {
		if f.Machine != "node" {
			continue
		}
		from, packet := net.HardwareAddr(f.Data[6:12]).String(), f.Packet()
		speaker := packet.Source
		if arp, err := parseARP(packet.Payload); packet.EtherType == unix.ETH_P_ARP && err == nil {
			speaker = arp.sender
		}
		for _, i := range s.Interfaces {
			if i.MAC != from && slices.ContainsFunc(i.Addresses, func(a netip.Prefix) bool { return a.Addr().Is4() && a.Addr() == speaker }) {
				t.Errorf("%s speaks for %s, which is of %s: %s", from, speaker, i.Name, f)
			}
		}
	}
}

// listen takes connections in the machine whose thread this is, until the test
// ends.
func listen(t *testing.T, at string) error {
	l, err := net.Listen("tcp", at)
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return err
}

func dial(to netip.AddrPort) error {
	conn, err := net.DialTimeout("tcp", to.String(), 20*time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

// TestTrunkWithoutSmallFrames: what is shorter than Ethernet's least is dropped
// on the way, as by a switch behind one that took a tag off and did not pad
// again. ARP of a virtual card is. DHCP, IPv6 and what this package says itself
// are not: the node is up and reached, and wholly once the trunk is mended.
func TestTrunkWithoutSmallFrames(t *testing.T) {
	t.Parallel()
	lan := netlab.NewSwitch(t, "lan", netlab.Wire{Least: 60})
	capture := lan.Capture()
	router, node := netlab.NewMachine(t, "router"), netlab.NewMachine(t, "node")
	lan.Join(t, router, "in0", "10.7.0.1/24", "fd07::1/64")
	lan.Wired(t, node, "eth0", makersMAC)
	p := node.Again(t, "manager", lab{HostName: nodeName, Grace: time.Millisecond})
	awaitState(t, p, "link-local", func(s state) bool { return s.named("eth0").has(linkLocal4) && s.named("eth0").has(linkLocal6) })
	router.Dnsmasq(t, "in0", "--dhcp-range=10.7.0.10,10.7.0.99,255.255.255.0,1h", "--dhcp-option=option:router,10.7.0.1",
		"--enable-ra", "--ra-param=in0,high,5,600", "--dhcp-range=fd07::,ra-only,64,1h")
	up := awaitState(t, p, "a lease and a router's prefix", func(s state) bool {
		return s.named("eth0").Method == "dhcp" && s.named("eth0").has("fd07::/64")
	}).named("eth0")
	own := 0
	for _, f := range capture.Frames() {
		packet := f.Packet()
		arp, err := parseARP(packet.Payload)
		if f.Machine != "node" || packet.EtherType != unix.ETH_P_ARP || err != nil {
			continue
		}
		if said := arp.sender.IsUnspecified() || arp.sender == arp.targetIP; said {
			own++
			if len(f.Data) < 60 {
				t.Errorf("%d bytes, which the trunk drops: %s", len(f.Data), f)
			}
		}
	}
	if own < probes+1 {
		t.Errorf("%d probes and announcements", own)
	}
	node.Do(t, func() error { return listen(t, "[::]:8080") })
	router.Do(t, func() error { return dial(netip.AddrPortFrom(up.in("fd07::/64"), 8080)) })
	lan.SetWire(netlab.Wire{})
	router.Do(t, func() error { return dial(netip.AddrPortFrom(up.in("10.7.0.0/24"), 8080)) })
}
