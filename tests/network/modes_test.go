package network

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/tests/netlab"
)

// sentBy are the frames with IP that a machine has sent.
func sentBy(c *netlab.Capture, m *netlab.Machine) []netlab.Frame {
	return slices.DeleteFunc(c.Frames(), func(f netlab.Frame) bool { return f.Machine != m.Name || !f.Packet().Source.IsValid() })
}

// pieces are all sequences of so many bytes that a machine has sent by UDP and
// TCP, above their headers.
func pieces(frames []netlab.Frame) map[string]bool {
	const size = 16
	all := map[string]bool{}
	for _, f := range frames {
		p := f.Packet()
		head := map[uint8]int{6: 20, 17: 8}[p.Protocol]
		for at := head; head > 0 && at+size <= len(p.Payload); at++ {
			all[string(p.Payload[at:at+size])] = true
		}
	}
	return all
}

// In private mode nothing is announced, nothing is kept, and two starts have
// nothing in common by which they could be known again; jobs can be sent.
func TestPrivateMode(t *testing.T) {
	t.Parallel()
	on := newLAN(t)
	other, _ := onLAN(t, on, 1, "--accept", "all")
	m := netlab.NewMachine(t, "quiet")
	on.Join(t, m, "eth0", "192.168.7.2/24")
	var ids []string
	var captures []*netlab.Capture
	for range 2 {
		capture := on.Capture()
		n := startNode(t, m, "--network", "private", "--bootstrap", other.address("192.168.7.1"))
		n.connected(t, other.id)
		n.execute(t, other.id, "--on", other.id)
		if p := n.peers(t); len(p.Addresses) != 0 || p.Peer != n.id {
			t.Errorf("it can be reached: %+v", p)
		}
		if _, ok := other.peer(t, n.id); !ok {
			t.Errorf("the other node knows it by another peer id than %s", n.id)
		}
		if err := n.Stop(t); err != nil {
			t.Error(err)
		}
		capture.Stop()
		if _, err := os.Stat(filepath.Join(n.dir, "data")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something is kept: %v", err)
		}
		ids, captures = append(ids, n.id), append(captures, capture)
	}
	if ids[0] == ids[1] {
		t.Errorf("both starts had the peer id %s", ids[0])
	}
	for _, c := range captures {
		for _, f := range sentBy(c, m) {
			p := f.Packet()
			if p.Protocol == 17 && (p.SourcePort == 5353 || p.TargetPort != 7420) || p.Protocol == 6 && p.TargetPort != 7420 {
				t.Errorf("it says something to others than the node it was told of: %v", f)
			}
		}
	}
	first, second := pieces(sentBy(captures[0], m)), pieces(sentBy(captures[1], m))
	if len(first) < 1000 || len(second) < 1000 {
		t.Errorf("%d and %d pieces were captured", len(first), len(second))
	}
	for piece := range first {
		if second[piece] {
			t.Errorf("both starts have sent %s", hex.EncodeToString([]byte(piece)))
		}
	}
	// What is announced is captured.
	if _, ok := captures[0].Contains([]byte(other.id)); !ok {
		t.Error("the announcement of the other node is not in the capture")
	}
	for _, c := range captures {
		if f, ok := c.Contains([]byte(ids[0])); ok {
			t.Errorf("the peer id can be read in %v", f)
		}
	}
}

// beyond are the frames of a machine to addresses that lie beyond its LAN.
func beyond(c *netlab.Capture, m *netlab.Machine, lan netip.Prefix) []netlab.Frame {
	return slices.DeleteFunc(sentBy(c, m), func(f netlab.Frame) bool {
		to := f.Packet().Target
		return lan.Contains(to) || to.IsLinkLocalUnicast() || to.IsLinkLocalMulticast() || to == netip.MustParseAddr("255.255.255.255")
	})
}

// In local mode no packet goes to an address beyond the LAN, though a router is
// there and the node is told of a peer beyond it; and the nodes of the LAN find
// each other and work for each other.
func TestLocalMode(t *testing.T) {
	t.Parallel()
	w := &world{Internet: netlab.NewInternet(t, netlab.Wire{}), transport: "quic"}
	public := w.node(t, w.Machine(t, "public", "45.45.45.200"))
	home, port := w.Home(t, "home", 1, netlab.Open)
	lan := netip.MustParsePrefix("46.1.1.0/24")
	neighbour := netlab.NewMachine(t, "neighbour")
	port.Switch.Join(t, neighbour, "eth0", "46.1.1.3/24")
	neighbour.Route(t, "0.0.0.0/0", "46.1.1.1")
	told := []string{"--bootstrap", public.address("45.45.45.200"), "--peer", public.address("45.45.45.200")}

	capture := port.Switch.Capture()
	a := startNode(t, home, append([]string{"--network", "local"}, told...)...)
	b := startNode(t, neighbour, append([]string{"--network", "local", "--accept", "all"}, told...)...)
	a.connected(t, b.id)
	a.until(t, "an attempt to reach the peer beyond", func() bool { return a.says("unreachable", public.id) })
	a.execute(t, b.id, "--on", b.id)
	a.execute(t, b.id, "--on", "auto")
	if _, stderr, err := a.send(t, "--on", public.id); err == nil || !strings.Contains(stderr, public.id) {
		t.Errorf("a job for the peer beyond: %v, %s", err, stderr)
	}
	// From outside it cannot be reached either.
	stranger := w.node(t, w.Machine(t, "stranger", "45.45.45.201"), "--peer", a.address("46.1.1.2"), "--peer", "/ip4/46.1.1.2/tcp/7420/p2p/"+a.id)
	stranger.until(t, "an attempt to reach it from beyond", func() bool { return stranger.says("unreachable", a.id) })
	if stranger.says("connected", a.id) {
		t.Error("it has told a stranger beyond the LAN who it is")
	}
	capture.Stop()
	for _, n := range []*node{a, b} {
		if list := beyond(capture, n.machine, lan); len(list) > 0 {
			t.Errorf("%s: %d packets to addresses beyond the LAN, first %v", n.machine.Name, len(list), list[0])
		}
		if len(sentBy(capture, n.machine)) == 0 || n.says("connected", public.id) || public.says("connected", n.id) {
			t.Errorf("%s: it was connected to the peer beyond, or nothing was captured", n.machine.Name)
		}
		if err := n.Stop(t); err != nil {
			t.Error(err)
		}
	}
	// In the other mode the same node reaches that peer, and it is captured.
	capture = port.Switch.Capture()
	c := startNode(t, home, told...)
	c.connected(t, public.id)
	if len(beyond(capture, home, lan)) == 0 {
		t.Error("packets to addresses beyond the LAN are not captured")
	}
}
