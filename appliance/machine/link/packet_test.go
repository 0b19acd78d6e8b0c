package link

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
)

var (
	ownHW     = hardwareAddr{2, 0, 0, 0, 0, 1}
	otherHW   = hardwareAddr{2, 0, 0, 0, 0, 2}
	testGrant = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
)

func TestConflicts(t *testing.T) {
	addr, other := netip.MustParseAddr("169.254.7.7"), netip.MustParseAddr("169.254.7.8")
	for name, c := range map[string]struct {
		packet         []byte
		claims, probes bool
	}{
		"another has it":           {arpAnnouncement(otherHW, addr), true, false},
		"another is about to":      {arpProbe(otherHW, addr), false, true},
		"our own announcement":     {arpAnnouncement(ownHW, addr), false, false},
		"our own probe, echoed":    {arpProbe(ownHW, addr), false, false},
		"another has another":      {arpAnnouncement(otherHW, other), false, false},
		"another asks for us":      {arpPacket{senderHW: otherHW, sender: other, targetIP: addr}.marshal(), false, false},
		"a reply is no probe":      {arpPacket{reply: true, senderHW: otherHW, sender: netip.IPv4Unspecified(), targetIP: addr}.marshal(), false, false},
		"a reply claims":           {arpPacket{reply: true, senderHW: otherHW, sender: addr, targetIP: other}.marshal(), true, false},
		"padded to a frame's size": {append(arpAnnouncement(otherHW, addr), make([]byte, 18)...), true, false},
	} {
		p, err := parseARP(c.packet)
		if err != nil || p.claims(addr, ownHW) != c.claims || p.probes(addr, ownHW) != c.probes {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// FuzzARP: what is read is what would be written, but for the target's
// hardware address and the padding.
func FuzzARP(f *testing.F) {
	f.Add(arpProbe(ownHW, netip.MustParseAddr("169.254.7.7")))
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseARP(b)
		if err != nil {
			return
		}
		want := bytes.Clone(b[:arpLength])
		clearBytes(want[18:24])
		if got := p.marshal(); !bytes.Equal(got, want) {
			t.Errorf("read %x, written %x", want, got)
		}
	})
}

func clearBytes(b []byte) {
	for i := range b {
		b[i] = 0
	}
}

func TestCandidatesAreAllowed(t *testing.T) {
	r := candidates(ownHW)
	low, high := netip.MustParseAddr("169.254.1.0"), netip.MustParseAddr("169.254.254.255")
	seen := make(map[netip.Addr]bool)
	for range 200000 {
		a := candidate(r)
		if a.Less(low) || high.Less(a) {
			t.Fatalf("%s is kept for later use by RFC 3927", a)
		}
		seen[a] = true
	}
	if len(seen) < 40000 {
		t.Errorf("only %d addresses are ever tried", len(seen))
	}
	if candidate(candidates(ownHW)) == candidate(candidates(otherHW)) {
		t.Error("two machines begin with the same address")
	}
}

// FuzzAnswer: what is read is a server's message, and written again it reads
// the same.
func FuzzAnswer(f *testing.F) {
	f.Add(grant().ToBytes())
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := parseAnswer(payload)
		if err != nil {
			return
		}
		again, err := parseAnswer(m.ToBytes())
		if err != nil || m.OpCode != dhcpv4.OpcodeBootReply || again.TransactionID != m.TransactionID || !again.YourIPAddr.Equal(m.YourIPAddr) {
			t.Errorf("%s became %s, %v", m.Summary(), again, err)
		}
	})
}

func grant(modifiers ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.New(slices.Concat([]dhcpv4.Modifier{
		dhcpv4.WithReply(&dhcpv4.DHCPv4{ClientHWAddr: ownHW[:]}),
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck),
		dhcpv4.WithYourIP(net.IPv4(10, 7, 0, 20)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 7, 0, 1))),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithLeaseTime(3600),
	}, modifiers)...)
	if err != nil {
		panic(err)
	}
	return m
}

func TestWhatServersGrant(t *testing.T) {
	gateway := func(a string) []route {
		return []route{{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(a)}}
	}
	_, ten, _ := net.ParseCIDR("10.99.0.0/16")
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	for name, c := range map[string]struct {
		ack  *dhcpv4.DHCPv4
		want lease
	}{
		"plain": {grant(dhcpv4.WithRouter(net.IPv4(10, 7, 0, 1)), dhcpv4.WithDNS(net.IPv4(10, 7, 0, 1))),
			lease{routes: gateway("10.7.0.1"), dns: []netip.Addr{netip.MustParseAddr("10.7.0.1")}}},
		"router beyond the link": {grant(dhcpv4.WithRouter(net.IPv4(10, 8, 0, 1))), lease{}},
		"router is the node":     {grant(dhcpv4.WithRouter(net.IPv4(10, 7, 0, 20), net.IPv4(10, 7, 0, 2))), lease{routes: gateway("10.7.0.2")}},
		"useless name servers":   {grant(dhcpv4.WithDNS(net.IPv4(127, 0, 0, 1), net.IPv4(224, 0, 0, 1), net.IPv4zero)), lease{}},
		"classless routes win": {grant(dhcpv4.WithRouter(net.IPv4(10, 7, 0, 1)), dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
			&dhcpv4.Route{Dest: ten, Router: net.IPv4(10, 7, 0, 3)}, &dhcpv4.Route{Dest: all, Router: net.IPv4(192, 0, 2, 1)}))),
			lease{routes: []route{{netip.MustParsePrefix("10.99.0.0/16"), netip.MustParseAddr("10.7.0.3")}}}},
		"a second's lease": {grant(dhcpv4.WithLeaseTime(1)), lease{expire: minLease, renew: minLease / 2, rebind: minLease * 7 / 8}},
		"a lease for ever": {grant(dhcpv4.WithLeaseTime(0xffffffff)), lease{expire: maxLease, renew: maxLease / 2, rebind: maxLease * 7 / 8}},
		"T1 after T2": {grant(dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(time.Hour)), dhcpv4.WithOption(dhcpv4.OptRebindingTimeValue(time.Minute))),
			lease{}},
		"own times": {grant(dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(5*time.Minute)), dhcpv4.WithOption(dhcpv4.OptRebindingTimeValue(10*time.Minute))),
			lease{renew: 5 * time.Minute, rebind: 10 * time.Minute}},
	} {
		w := c.want
		w.address, w.server, w.granted = netip.MustParsePrefix("10.7.0.20/24"), netip.MustParseAddr("10.7.0.1"), testGrant
		if w.expire == 0 {
			w.expire = time.Hour
		}
		if w.renew == 0 {
			w.renew, w.rebind = w.expire/2, w.expire*7/8
		}
		got, err := leaseOf(c.ack, testGrant, minLease)
		if err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, w)
		}
	}
	for name, ack := range map[string]*dhcpv4.DHCPv4{
		"no address":      grant(dhcpv4.WithYourIP(net.IPv4zero)),
		"loopback":        grant(dhcpv4.WithYourIP(net.IPv4(127, 0, 0, 2))),
		"multicast":       grant(dhcpv4.WithYourIP(net.IPv4(239, 0, 0, 2))),
		"broadcast":       grant(dhcpv4.WithYourIP(net.IPv4bcast)),
		"everything link": grant(dhcpv4.WithNetmask(net.CIDRMask(1, 32))),
		"holey mask":      grant(dhcpv4.WithNetmask(net.IPv4Mask(255, 0, 255, 0))),
		"nameless server": grant(dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier)),
	} {
		if l, err := leaseOf(ack, testGrant, minLease); err == nil {
			t.Errorf("%s: accepted as %+v", name, l)
		}
	}
}

// FuzzLease: whatever a server sends, an accepted lease is one a machine can
// have, with gateways on its own link and times in their order.
func FuzzLease(f *testing.F) {
	f.Add(grant(dhcpv4.WithRouter(net.IPv4(10, 7, 0, 1))).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		l, err := leaseOf(m, testGrant, minLease)
		if err != nil {
			return
		}
		if !usable(l.address.Addr()) || l.address.Bits() < 8 || len(l.routes) > maxRoutes || len(l.dns) > maxDNS ||
			l.renew <= 0 || l.renew >= l.rebind || l.rebind >= l.expire || l.expire > maxLease {
			t.Errorf("accepted %+v", l)
		}
		for _, r := range l.routes {
			if r.via.IsValid() && !l.address.Contains(r.via) {
				t.Errorf("gateway %s is not on %s", r.via, l.address)
			}
		}
	})
}

// userOption is a netlink message with neighbour discovery options.
func userOption(index int32, options ...byte) []byte {
	b := make([]byte, 16)
	b[0], b[8] = unix.AF_INET6, 134
	binary.NativeEndian.PutUint16(b[2:], uint16(len(options)))
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return append(b, options...)
}

func rdnss(servers ...string) (b []byte) {
	b = []byte{25, byte(1 + 2*len(servers)), 0, 0, 0, 0, 0, 60}
	for _, s := range servers {
		b = append(b, netip.MustParseAddr(s).AsSlice()...)
	}
	return b
}

func TestAnnouncedServers(t *testing.T) {
	got, ok := parseUserOption(userOption(3, append([]byte{31, 1, 0, 0, 0, 0, 0, 0}, rdnss("fd00::1", "fe80::1", "ff02::1")...)...))
	want := announcedServers{3, []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fe80::1")}, time.Minute}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, ok)
	}
	for name, b := range map[string][]byte{
		"empty":            nil,
		"no options":       userOption(3),
		"option of no end": userOption(3, 25, 0, 0, 0, 0, 0, 0, 0),
		"cut option":       userOption(3, rdnss("fd00::1")[:20]...),
		"another option":   userOption(3, 31, 1, 0, 0, 0, 0, 0, 0),
	} {
		if got, ok := parseUserOption(b); ok {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

// FuzzUserOption: name servers are at most three, and addresses a machine can
// have.
func FuzzUserOption(f *testing.F) {
	f.Add(userOption(3, rdnss("fd00::1", "fe80::1")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := parseUserOption(b)
		if !ok {
			return
		}
		if len(a.servers) > maxNameservers || slices.ContainsFunc(a.servers, func(s netip.Addr) bool { return !usable(s) }) {
			t.Errorf("read %+v", a)
		}
	})
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	var servers []netip.Addr
	for _, s := range []string{"9.9.9.9", "fe80::1%eth0", "fd00::1", "10.0.0.1"} {
		servers = append(servers, netip.MustParseAddr(s))
	}
	if err := os.WriteFile(path, []byte(resolvConf(servers)), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := nameservers(t, path); !slices.Equal(got, []string{"9.9.9.9", "fe80::1%eth0", "fd00::1"}) {
		t.Errorf("wrote %v", got)
	}
}
