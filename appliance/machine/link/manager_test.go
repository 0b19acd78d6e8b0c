package link

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"phase/appliance/machine/settings"
	"phase/tests/netlab"
)

const (
	linkLocal4 = "169.254.0.0/16"
	linkLocal6 = "fe80::/10"
)

func TestSegmentWithoutServers(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	var nodes []*netlab.Node
	var addrs []netip.Addr
	for i := range 2 {
		n := netlab.Start(t, fmt.Sprintf("node%d", i), "manager", lab{})
		s.Plug(t, n, "eth0")
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		i := await(t, n, "eth0", "IPv6 link-local before anything else", func(i shown) bool { return i.has(linkLocal6) })
		if i.has(linkLocal4) {
			t.Errorf("%s had %v before its IPv6 link-local address", n.Name, i.Addresses)
		}
		i = await(t, n, "eth0", "IPv4 link-local", func(i shown) bool { return i.Method == "link-local" && i.has(linkLocal4) })
		addrs = append(addrs, i.in(linkLocal4))
	}
	if addrs[0] == addrs[1] {
		t.Fatalf("both have %s", addrs[0])
	}
	// They reach each other by them.
	var listener net.Listener
	nodes[0].Do(t, func() {
		var err error
		if listener, err = net.Listen("tcp", netip.AddrPortFrom(addrs[0], 8080).String()); err != nil {
			t.Fatal(err)
		}
	})
	defer listener.Close()
	nodes[1].Do(t, func() {
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	})
}

func TestServerThatComesLateAndGoes(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	resolv := resolvPath(t)
	n := netlab.Start(t, "node", "manager", lab{
		HostName: "phase-1a2b3c4d", Resolv: resolv,
		MinLease: 2 * time.Second, Grace: time.Millisecond,
	})
	s.Plug(t, n, "eth0")
	await(t, n, "eth0", "link-local without a server", func(i shown) bool { return i.Method == "link-local" })

	server := startDHCP(t, s, dhcpv4.WithLeaseTime(4))
	await(t, n, "eth0", "a lease alone", func(i shown) bool {
		return i.Method == "dhcp" && i.has("10.7.0.20/32") && !i.has(linkLocal4)
	})
	if count := defaultRoutes(t, n); count != 1 {
		t.Errorf("%d default routes, want the server's one", count)
	}
	if got := nameservers(t, resolv); !slices.Equal(got, []string{"9.9.9.9", "10.7.0.1"}) {
		t.Errorf("name servers %v", got)
	}
	for renewed := 0; renewed < 2; { // whatever had to be asked twice before
		select {
		case m := <-server.heard:
			if m.MessageType() == dhcpv4.MessageTypeRequest && m.ClientIPAddr.Equal(net.IPv4(10, 7, 0, 20)) {
				renewed++
			}
		case <-time.After(time.Minute):
			t.Fatal("the lease is not renewed")
		}
	}
	server.mu.Lock()
	for _, m := range server.requests {
		if m.HostName() != "phase-1a2b3c4d" || string(m.Options.Get(dhcpv4.OptionClientIdentifier)) != "\x00phase-1a2b3c4d" {
			t.Errorf("a message without the node's name: %s", m.Summary())
		}
	}
	server.mu.Unlock()

	server.setSilent(true)
	await(t, n, "eth0", "link-local after the lease ran out", func(i shown) bool {
		return i.Method == "link-local" && !i.has("10.7.0.0/24")
	})
	if got := nameservers(t, resolv); len(got) != 0 {
		t.Errorf("name servers %v are left of the lost lease", got)
	}
}

func TestCarrierComesAndGoes(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	startDHCP(t, s)
	n := netlab.Start(t, "node", "manager", lab{})
	cable := s.Plug(t, n, "eth0")
	for range 2 {
		await(t, n, "eth0", "a lease", func(i shown) bool { return i.Up && i.Method == "dhcp" && i.has("10.7.0.20/32") })
		cable.Pull(t)
		await(t, n, "eth0", "nothing without a carrier", func(i shown) bool {
			return !i.Up && i.Method == "none" && !i.has("10.7.0.0/24")
		})
		if count := defaultRoutes(t, n); count != 0 {
			t.Errorf("%d default routes without a carrier", count)
		}
		cable.Restore(t)
	}
	await(t, n, "eth0", "both families again", func(i shown) bool { return i.Method == "dhcp" && i.has(linkLocal6) })
}

func TestTwoInterfacesServerOnOne(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	empty, full := netlab.NewSegment(t, "empty"), netlab.NewSegment(t, "full")
	startDHCP(t, full)
	n := netlab.Start(t, "node", "manager", lab{})
	empty.Plug(t, n, "eth0")
	full.Plug(t, n, "eth1")
	netlab.Wait(t, n, "link-local on one and a lease on the other", func(s state) bool {
		return s.named("eth0").Method == "link-local" && s.named("eth1").Method == "dhcp"
	})
}

// TestAnswersLeaveWhereTheyWereAsked holds two link-local interfaces, whose
// prefix is the same, and asks on the second.
func TestAnswersLeaveWhereTheyWereAsked(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	one, two := netlab.NewSegment(t, "one"), netlab.NewSegment(t, "two")
	n, asker := netlab.Start(t, "node", "manager", lab{}), netlab.Start(t, "asker", "manager", lab{})
	one.Plug(t, n, "eth0")
	two.Plug(t, n, "eth1")
	two.Plug(t, asker, "eth0")
	status := netlab.Wait(t, n, "link-local on both", func(s state) bool {
		return s.named("eth0").Method == "link-local" && s.named("eth1").Method == "link-local"
	})
	await(t, asker, "eth0", "link-local", func(i shown) bool { return i.Method == "link-local" })
	var listener net.Listener
	n.Do(t, func() {
		var err error
		if listener, err = net.Listen("tcp", "[::]:8080"); err != nil {
			t.Fatal(err)
		}
	})
	defer listener.Close()
	asker.Do(t, func() {
		addr := netip.AddrPortFrom(status.named("eth1").in(linkLocal4), 8080)
		conn, err := net.DialTimeout("tcp", addr.String(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	})
}

func TestOnLinkOnly(t *testing.T) {
	for _, mode := range []settings.Mode{settings.Internet, settings.Local} {
		t.Run(string(mode), func(t *testing.T) {
			if !netlab.Isolated(t) {
				return
			}
			s := netlab.NewSegment(t, "sw")
			_, everywhere, _ := net.ParseCIDR("0.0.0.0/0")
			startDHCP(t, s, dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: everywhere, Router: net.IPv4(10, 7, 0, 1)})))
			awaitBridgeLinkLocal(t, s)
			resolv := resolvPath(t)
			n := netlab.Start(t, "node", "manager", lab{Settings: settings.Options{Mode: mode}, Resolv: resolv})
			s.Plug(t, n, "eth0")
			await(t, n, "eth0", "a lease and link-local", func(i shown) bool { return i.Method == "dhcp" && i.has(linkLocal6) })
			advertise(t, s)
			await(t, n, "eth0", "an address from the router's prefix", func(i shown) bool { return i.has("fd07::/64") })
			routes, servers := 2, []string{"9.9.9.9", "10.7.0.1", "fd07::53"}
			if mode == settings.Local {
				routes, servers = 0, []string{"10.7.0.1", "fd07::53"}
			}
			if got := defaultRoutes(t, n); got != routes {
				t.Errorf("%d default routes, want %d", got, routes)
			}
			awaitNameservers(t, resolv, servers)
		})
	}
}

func TestAnonymous(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	server := startDHCP(t, s)
	n := netlab.Start(t, "node", "manager", lab{Settings: settings.Options{Mode: settings.Private}, HostName: "phase-1a2b3c4d"})
	cable := s.Plug(t, n, "eth0")
	i := await(t, n, "eth0", "a lease", func(i shown) bool { return i.Method == "dhcp" && i.has(linkLocal6) })
	hw, err := net.ParseMAC(i.MAC)
	if err != nil || hw[0]&3 != 2 || i.MAC == cable.MAC {
		t.Errorf("hardware address %s, the maker's is %s", i.MAC, cable.MAC)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	for _, m := range server.requests {
		if m.HostName() != "" || m.Options.Has(dhcpv4.OptionClientIdentifier) || m.ClientHWAddr.String() != i.MAC {
			t.Errorf("a message that tells who it is: %s", m.Summary())
		}
	}
}

func TestStatic(t *testing.T) {
	for name, c := range map[string]struct {
		static      string
		other       string // the family that goes on by itself
		nameservers []string
	}{
		"v4": {"192.0.2.7/24,192.0.2.1,192.0.2.53", linkLocal6, []string{"192.0.2.53"}},
		"v6": {"2001:db8::7/64,2001:db8::1", linkLocal4, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if !netlab.Isolated(t) {
				return
			}
			s := netlab.NewSegment(t, "sw")
			resolv := resolvPath(t)
			ip, err := settings.ParseIP(c.static)
			if err != nil {
				t.Fatal(err)
			}
			n := netlab.Start(t, "node", "manager", lab{Settings: settings.Options{IP: ip}, Resolv: resolv})
			first := s.Plug(t, n, "eth0")
			s.Plug(t, n, "eth1")
			await(t, n, "eth0", "the static address and the other family", func(i shown) bool {
				return i.Method == "static" && slices.Contains(i.Addresses, ip.Address) && i.has(c.other)
			})
			if got := defaultRoutes(t, n); got != 1 {
				t.Errorf("%d default routes, want the gateway's", got)
			}
			if got := nameservers(t, resolv); !slices.Equal(got, c.nameservers) {
				t.Errorf("name servers %v", got)
			}
			first.Pull(t)
			netlab.Wait(t, n, "the static address on the second interface", func(s state) bool {
				return s.named("eth0").Method == "none" && s.named("eth1").Method == "static" && slices.Contains(s.named("eth1").Addresses, ip.Address)
			})
		})
	}
}

func TestMachineWithoutInterfaces(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	n := netlab.Start(t, "node", "manager", lab{})
	netlab.Wait(t, n, "a word about it", func(s state) bool { return len(s.Interfaces) == 0 && len(s.Problems) == 1 })
	s.Plug(t, n, "usb0")
	await(t, n, "usb0", "an interface plugged in later", func(i shown) bool { return i.Up && i.has(linkLocal6) })
}

// TestRunEndsLeavingAddresses: a service that still runs keeps its addresses.
func TestRunEndsLeavingAddresses(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	startDHCP(t, s)
	keeper := netlab.Start(t, "keeper", "manager", lab{})
	s.Plug(t, keeper, "eth0")
	await(t, keeper, "eth0", "a lease", func(i shown) bool { return i.Method == "dhcp" })
	keeper.Stop(t) // the namespace stays while this test holds it
	keeper.Do(t, func() {
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.Equal(net.IPv4(10, 7, 0, 20)) }) {
			t.Errorf("addresses left: %v", addrs)
		}
	})
}
