package link

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/settings"
	"phase/tests/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m, map[string]netlab.Role{"manager": managerRole}) }

// lab is a manager's options, as far as they have a JSON form, and the times a
// test shortens.
type lab struct {
	Settings         settings.Options
	HostName, Resolv string
	MinLease, Grace  time.Duration
	FirstGap         time.Duration
}

// state is what a manager reports.
type state struct {
	Interfaces []shown
	Problems   []string
}

type shown struct {
	Name, MAC, Method string
	Up                bool
	Addresses         []netip.Prefix
	State, Waiting    string
	Since             time.Time
	MTU, MTU6         int
	MTUFrom           string `json:"mtu_from"`
}

func managerRole(ctx context.Context, args []byte, say func(any)) error {
	var l lab
	if err := json.Unmarshal(args, &l); err != nil {
		return err
	}
	m := NewManager(Options{
		Settings: l.Settings, HostName: l.HostName, Resolv: l.Resolv,
		Report: func(s statefile.Net) { say(s) },
	})
	if l.MinLease > 0 {
		m.minLease = l.MinLease
	}
	if l.FirstGap > 0 {
		m.firstGap = l.FirstGap
	}
	if l.Grace > 0 {
		m.grace = l.Grace
	}
	return m.Run(ctx)
}

func (s state) named(name string) shown {
	for _, i := range s.Interfaces {
		if i.Name == name {
			return i
		}
	}
	return shown{}
}

func (i shown) has(prefix string) bool { return i.in(prefix).IsValid() }

func (i shown) in(prefix string) netip.Addr {
	p := netip.MustParsePrefix(prefix)
	for _, a := range i.Addresses {
		if p.Contains(a.Addr()) {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// await waits until an interface of the node is as it should be.
func await(t *testing.T, n *netlab.Node, name, what string, ok func(shown) bool) shown {
	t.Helper()
	return netlab.Wait(t, n, what, func(s state) bool { return ok(s.named(name)) }).named(name)
}

// dhcpServer is a real server, on the segment's switch itself.
type dhcpServer struct {
	mu       sync.Mutex
	silent   bool
	deaf     int // questions that are still lost
	requests []*dhcpv4.DHCPv4
	heard    chan *dhcpv4.DHCPv4
	config   []dhcpv4.Modifier
}

var serverAddr = netip.MustParsePrefix("10.7.0.1/24")

func startDHCP(t *testing.T, s *netlab.Segment, config ...dhcpv4.Modifier) *dhcpServer {
	t.Helper()
	if err := netlink.AddrReplace(s.Bridge, &netlink.Addr{IPNet: ipNet(serverAddr)}); err != nil {
		t.Fatal(err)
	}
	d := &dhcpServer{heard: make(chan *dhcpv4.DHCPv4, 100), config: config}
	server, err := server4.NewServer(s.Bridge.Attrs().Name, &net.UDPAddr{Port: dhcpv4.ServerPort}, d.serve)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve()
	t.Cleanup(func() { server.Close() })
	return d
}

func (d *dhcpServer) serve(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deaf > 0 {
		d.deaf--
		return
	}
	if d.silent {
		return
	}
	d.requests = append(d.requests, m)
	kind := dhcpv4.MessageTypeOffer
	if m.MessageType() == dhcpv4.MessageTypeRequest {
		kind = dhcpv4.MessageTypeAck
	}
	modifiers := slices.Concat([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(net.IPv4(10, 7, 0, 20)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverAddr.Addr().AsSlice())),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithRouter(net.IPv4(10, 7, 0, 1)),
		dhcpv4.WithDNS(net.IPv4(9, 9, 9, 9), net.IPv4(10, 7, 0, 1)),
		dhcpv4.WithLeaseTime(3600),
	}, d.config)
	answer, err := dhcpv4.NewReplyFromRequest(m, modifiers...)
	if err != nil {
		return
	}
	conn.WriteTo(answer.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
	select {
	case d.heard <- m:
	default:
	}
}

// set changes what the server grants from now on.
func (d *dhcpServer) set(config ...dhcpv4.Modifier) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config = config
}

func (d *dhcpServer) setSilent(v bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = v
}

// defaultRoutes counts the default routes in the node, of both families.
func defaultRoutes(t *testing.T, n *netlab.Node) (count int) {
	t.Helper()
	n.Do(t, func() {
		routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
		if err != nil {
			t.Error(err)
		}
		for _, r := range routes {
			if r.Dst == nil || r.Dst.IP.IsUnspecified() {
				count++
			}
		}
	})
	return count
}

// advertise sends a router advertisement for fd07::/64 with the name server
// fd07::53, RFC 4861 §4.2 and RFC 8106 §5.1, and more options.
func advertise(t *testing.T, s *netlab.Segment, options ...byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	index := s.Bridge.Attrs().Index
	for option, value := range map[int]int{unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_MULTICAST_IF: index} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, value); err != nil {
			t.Fatal(err)
		}
	}
	prefix, dns := netip.MustParseAddr("fd07::").As16(), netip.MustParseAddr("fd07::53").As16()
	ra := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	ra = append(ra, 3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0)
	ra = append(ra, prefix[:]...)
	ra = append(ra, 25, 3, 0, 0, 0, 0, 0x0e, 0x10)
	ra = append(ra, dns[:]...)
	ra = append(ra, options...)
	all := netip.MustParseAddr("ff02::1").As16()
	if err := unix.Sendto(fd, ra, 0, &unix.SockaddrInet6{Addr: all, ZoneId: uint32(index)}); err != nil {
		t.Fatal(err)
	}
}

// awaitBridgeLinkLocal waits until the switch can send router advertisements.
func awaitBridgeLinkLocal(t *testing.T, s *netlab.Segment) {
	t.Helper()
	changed, err := Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for {
		list, err := Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if i.Index == s.Bridge.Attrs().Index && (shown{Addresses: i.Addresses}).has(linkLocal6) {
				return
			}
		}
		<-changed
	}
}

// resolvPath is a path for a node's resolv.conf.
func resolvPath(t *testing.T) string { return filepath.Join(t.TempDir(), "resolv.conf") }

func nameservers(t *testing.T, path string) (list []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(line), "nameserver "); ok {
			list = append(list, s)
		}
	}
	return list
}

// awaitNameservers waits until a node's resolv.conf names these: those of a
// router come by another road than the addresses it is seen by.
func awaitNameservers(t *testing.T, path string, want []string) {
	t.Helper()
	var got []string
	netlab.WaitFile(t, path, fmt.Sprintf("name servers %v", want), func() bool {
		got = nameservers(t, path)
		return slices.Equal(got, want)
	})
}
