package link

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"phase/tests/netlab"
)

// TestLinkLocalConflicts plays the station that has every first choice.
func TestLinkLocalConflicts(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	socket, err := openPacket(s.Bridge.Attrs().Index, unix.ETH_P_ARP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	stranger := hardwareAddr{2, 0xbb, 0, 0, 0, 1}
	heard := func(what string, ok func(arpPacket) bool) arpPacket {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, maxFrame)
		for {
			n, _, err := socket.ReadFrom(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			}
			if p, err := parseARP(buf[:n]); err == nil && ok(p) {
				return p
			}
		}
	}
	say := func(addr netip.Addr) {
		t.Helper()
		if err := broadcast(socket, arpAnnouncement(stranger, addr)); err != nil {
			t.Fatal(err)
		}
	}
	n := netlab.Start(t, "node", "manager", lab{})
	s.Plug(t, n, "eth0")
	first := heard("a probe", func(p arpPacket) bool { return p.sender.IsUnspecified() })
	own := first.senderHW
	if want := candidate(candidates(own)); first.targetIP != want {
		t.Errorf("first choice %s, want %s, which follows from the hardware address", first.targetIP, want)
	}
	say(first.targetIP)
	second := heard("another choice", func(p arpPacket) bool { return p.sender.IsUnspecified() && p.targetIP != first.targetIP })
	// Somebody who is about to take the same address is a conflict too.
	if err := broadcast(socket, arpProbe(stranger, second.targetIP)); err != nil {
		t.Fatal(err)
	}
	third := heard("a third choice", func(p arpPacket) bool {
		return p.sender.IsUnspecified() && p.targetIP != first.targetIP && p.targetIP != second.targetIP
	})
	seen := 1
	claimed := heard("the claim", func(p arpPacket) bool {
		if p.sender.IsUnspecified() && p.targetIP == third.targetIP {
			seen++
		}
		return p.sender == third.targetIP && p.targetIP == third.targetIP
	})
	if seen != probes || claimed.senderHW != own {
		t.Errorf("%d probes before the claim, want %d", seen, probes)
	}
	await(t, n, "eth0", "the address", func(i shown) bool { return i.in(linkLocal4) == third.targetIP })
	heard("the second announcement", func(p arpPacket) bool { return p.sender == third.targetIP })
	say(third.targetIP)
	heard("its defence", func(p arpPacket) bool { return p.senderHW == own && p.sender == third.targetIP })
	say(third.targetIP)
	await(t, n, "eth0", "the address given up", func(i shown) bool { return !i.has(linkLocal4) })
	await(t, n, "eth0", "another address", func(i shown) bool {
		return i.has(linkLocal4) && i.in(linkLocal4) != third.targetIP
	})
}
