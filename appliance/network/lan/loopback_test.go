package lan

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"phase/tests/netlab"
)

// TestToldAgain: who wants to hear again of those who are still there does, and
// nobody else.
func TestToldAgain(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Announce(t.Context(), someConfig("d")); err != nil {
		t.Fatal(err)
	}
	once, err := Browse(t.Context(), BrowseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Browse(t.Context(), BrowseOptions{Again: time.Second})
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
