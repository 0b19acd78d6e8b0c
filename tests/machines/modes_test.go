package machines

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"phase/appliance/base/identity"
	"phase/appliance/machine/settings"
	"phase/qemu"
	"phase/tests/await"
	"phase/tests/lab"
)

// gateway is a host that says it leads to everywhere.
func gateway(t *testing.T, s *qemu.Segment) *lab.Gateway {
	t.Helper()
	g, err := lab.NewGateway(s, netip.MustParsePrefix("10.1.0.10/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// Two places beyond the link, and nobody at either.
var (
	far      = netip.MustParseAddr("45.45.45.45")
	farPeer  = "/ip4/45.45.45.45/udp/7420/quic-v1/p2p/12D3KooWQa5rKwCNfKPnV3kqxs1BApfUURwFPKMiixak2NHQ5PvT"
	farPlace = []string{"phase.bootstrap=" + farPeer, "phase.provider=http://45.45.45.45:8080"}
)

// A node in mode local sends nothing beyond its link, though a router offers the
// way, and a peer and a provider there are named. One in mode internet does.
func TestLocalStaysOnTheLink(t *testing.T) {
	long(t)
	for _, c := range []struct {
		mode settings.Mode
		away bool
	}{{settings.Local, false}, {settings.Internet, true}} {
		t.Run(string(c.mode), func(t *testing.T) {
			t.Parallel()
			w, s := open(t, machineArch), segment(t)
			g := gateway(t, s)
			frames := capture(t, s, "all")
			n := w.start(t, s, w.stick(t, append(farPlace, "phase.mode="+string(c.mode))...), qemu.Config{Name: "node"})
			id := up(t, n, lab.Begin, stubVersion)
			line(t, n, lab.Begin, `net: .*10\.1\.0\.11/24`)
			line(t, n, lab.Begin, `update: .*refused http://45\.45\.45\.45:8080`)
			line(t, n, lab.Begin, `plasmd: network event=unreachable peer=12D3KooWQa5r`)
			if p, err := n.Peers(patient(t), id.Token); err != nil || len(p.Peers) > 0 {
				t.Errorf("alone on its link the node has peers: %+v, %v", p, err)
			}
			away := map[netip.Addr]int{}
			for _, f := range frames() {
				if p := f.Packet(); p.Target.IsValid() && !onLink(p.Target, g) {
					away[p.Target]++
				}
			}
			if got := len(away) > 0; got != c.away || c.away && away[far] == 0 {
				t.Errorf("beyond the link went, by target: %v", away)
			}
		})
	}
}

// onLink says whether an address is on the link of a gateway.
func onLink(a netip.Addr, g *lab.Gateway) bool {
	return a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		g.Prefix.Contains(a) || g.Six.Contains(a)
}

// A node in mode private takes part in the network of nodes without being known
// again: what it sends in one boot and in the next has no identifier in common,
// it announces nothing, and nobody can connect to it.
func TestPrivateLeavesNoTrace(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	gateway(t, s)
	a := w.start(t, s, w.flashed(t, w.next, "phase.ip=10.1.0.2/24"), qemu.Config{Name: "A"})
	idA := up(t, a, lab.Begin, nextVersion)
	stick := w.stick(t, "phase.mode=private", "phase.bootstrap=/ip4/10.1.0.2/udp/7420/quic-v1/p2p/"+idA.Peer)

	begin := capture(t, s, "boot-1")
	n := w.start(t, s, stick, qemu.Config{Name: "node"})
	first := trace(t, n, a, lab.Begin, idA, begin)
	begin = capture(t, s, "boot-2")
	second := trace(t, n, a, powerCycle(t, n), idA, begin)

	for what, id := range first.identifiers {
		if again := second.frames.with([]byte(id)); again != "" {
			t.Errorf("%s of the first boot, %s, is in the second: %s", what, hex.EncodeToString([]byte(id)), again)
		}
	}
}

// traced is what a node in mode private sent, and by what it could be known.
type traced struct {
	frames      captured
	leases      int               // questions to DHCP among the frames
	identifiers map[string]string // what it is → its bytes
}

// trace waits until a node in mode private has joined the network and found what
// it looks for, and holds what it sent meanwhile to what it may send.
func trace(t *testing.T, n, a *lab.Node, after qemu.Event, idA lab.Identity, frames func() captured) traced {
	t.Helper()
	id := up(t, n, after, stubVersion)
	line(t, n, after, lab.LineConnected+idA.Peer)
	line(t, a, lab.Begin, lab.LineConnected+id.Peer)
	line(t, n, after, fmt.Sprintf(`update: found version %d `, nextVersion))
	refusesAll(t, n)
	sent := traced{identifiers: map[string]string{}}
	known, ofA := a.Config().NICs[0].MAC, 0
	for _, f := range frames() {
		if p := f.Packet(); slices.Equal(f.Data[6:12], known) && p.TargetPort == 5353 {
			ofA++
		}
		if f.Data[6] == 0x02 || slices.Equal(f.Data[6:12], known) {
			continue // hosts of the test, and A
		}
		sent.frames = append(sent.frames, f)
		sent.identify(t, f.Data)
		if p := f.Packet(); p.TargetPort == 5353 || p.SourcePort == 5353 {
			t.Errorf("it speaks multicast DNS: %s", f)
		}
	}
	if ofA == 0 || sent.leases == 0 || len(sent.identifiers) < 2 {
		t.Errorf("A announced itself in %d frames, the node asked for addresses in %d, and its identifiers are %q: the search finds too little",
			ofA, sent.leases, sent.identifiers)
	}
	key, err := identity.ParsePeerID(id.Peer)
	if err != nil {
		t.Fatal(err)
	}
	sent.identifiers["peer id"], sent.identifiers["key"] = id.Peer, string(key)
	for what, text := range map[string]string{"its MAC address as it was made": string(n.Config().NICs[0].MAC), "its peer id": id.Peer, "its key": string(key), "its name": "phase-"} {
		if f := sent.frames.with([]byte(text)); f != "" {
			t.Errorf("%s is sent: %s", what, f)
		}
	}
	return sent
}

// identify adds what a frame says of its sender: MAC address, interface
// identifiers of IPv6, and what DHCP is told.
func (s *traced) identify(t *testing.T, frame []byte) {
	t.Helper()
	s.identifiers["MAC address "+hex.EncodeToString(frame[6:12])] = string(frame[6:12])
	if binary.BigEndian.Uint16(frame[12:]) == 0x86dd && frame[22] != 0 {
		s.identifiers["interface identifier "+hex.EncodeToString(frame[30:38])] = string(frame[30:38])
	}
	if p := s.frames[len(s.frames)-1].Packet(); p.SourcePort == dhcpv4.ClientPort {
		m, err := dhcpv4.FromBytes(p.Payload[8:])
		if err != nil {
			t.Error(err)
			return
		}
		s.leases++
		for _, option := range []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionHostName, dhcpv4.OptionFQDN, dhcpv4.OptionClassIdentifier} {
			if value := m.Options.Get(option); len(value) > 0 {
				s.identifiers["DHCP "+option.String()] = string(value)
			}
		}
		if m.MessageType() == dhcpv4.MessageTypeDiscover && m.Options.Has(dhcpv4.OptionRequestedIPAddress) {
			t.Errorf("it asks for the address that it had: %s", m.Summary())
		}
	}
}

// refusesAll expects that nobody on the segment can connect to a node.
func refusesAll(t *testing.T, n *lab.Node) {
	t.Helper()
	s := n.Config().NICs[0].Segment
	var addrs []netip.Addr
	if err := await.Until(t.Context(), func() bool {
		addrs = slices.DeleteFunc(n.Port(0).Addrs(), netip.Addr.Is4)
		return len(addrs) > 0
	}); err != nil {
		t.Fatal(err)
	}
	for _, port := range []uint16{8080, 7420} {
		c, err := s.Dial(patient(t), "tcp", netip.AddrPortFrom(addrs[0], port).String())
		if err == nil {
			c.Close()
			t.Errorf("a stranger can connect to port %d", port)
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("port %d: %v", port, err)
		}
	}
}
