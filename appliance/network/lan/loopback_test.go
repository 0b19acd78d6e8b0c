package lan

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"phase/appliance/release/survey"
	"phase/tests/netlab"
)

// TestToldAgain: a browser that asks to hear again of those that are still there
// does, and no other.
func TestToldAgain(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	if _, err := Announce(t.Context(), someConfig("d")); err != nil {
		t.Fatal(err)
	}
	once, err := Finder{}.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Finder{Again: time.Second}.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-once
	for range 3 {
		<-again
	}
	select {
	case f := <-once:
		t.Errorf("told again, unasked: %+v", f)
	default:
	}
}

func TestOneMachineWithLoopbackOnly(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	if _, err := Announce(t.Context(), someConfig("d")); err != nil {
		t.Fatal(err)
	}
	found, err := Finder{}.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := <-found; f.Interface != "lo" || len(f.URLs) != 2 || !netip.MustParseAddr(f.Source).IsLoopback() {
		t.Errorf("found %+v", f)
	}
}

func TestFindKnowsGoodbyes(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	// One family, and so one socket: of two, nobody knows which is read first.
	if err := netlink.AddrDel(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}}); err != nil {
		t.Fatal(err)
	}
	alone, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	none, err := Finder{}.Find(alone)
	if err != nil {
		t.Fatal(err)
	}
	for a := range none {
		t.Fatalf("alone, found %v", a)
	}
	staying, err := Announce(t.Context(), someConfig("e"))
	if err != nil {
		t.Fatal(err)
	}
	_ = staying
	ctx, leave := context.WithCancel(t.Context())
	leaving, err := Announce(ctx, someConfig("d"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := Finder{}.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for f := range found {
		seen[f.Name] = true
		if len(seen) == 2 {
			break
		}
	}
	b, err := newBrowser(t.Context(), Finder{}, Service)
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan survey.Announcement)
	done, end := context.WithCancel(t.Context())
	go b.run(done, out)
	for range 2 {
		<-out
	}
	leave()
	<-leaving.Done()
	// The goodbye was sent before Done; the one who stays says something new
	// afterwards, so what comes next was heard after the goodbye.
	if err := staying.SetInstances([]Instance{{"stable", "x86_64", 99}}); err != nil {
		t.Fatal(err)
	}
	if f := <-out; f.Version != 99 {
		t.Fatalf("heard %+v", f)
	}
	end()
	for range out {
	}
	list := b.cache.found(time.Now(), b.ifaces)
	if len(list) != 1 || list[0].Name != "phase-1a2b3c4e" {
		t.Errorf("after the goodbye: %+v", list)
	}
}
