package kept_test

import (
	"testing"

	"phase/appliance/release/store/disk"
	"phase/tests/storetest"
	"phase/tests/storetest/ondisk"
)

// TestOlder: the owner goes back to the newest good release that is older than the
// one that runs.
func TestOlder(t *testing.T) {
	n := newNode(t) // it runs version 10
	if _, ok := n.Older(); ok {
		t.Error("there is one in an empty store")
	}
	for version, good := range map[uint64]bool{7: true, 8: true, 9: false, 20: true} {
		r := n.release(t, version)
		if err := ondisk.Keep(n.Store, r); err != nil {
			t.Fatal(err)
		}
		n.try(t, r.Digest(), 1, good)
	}
	if v, ok := n.Older(); !ok || v.Manifest().Version != 8 {
		t.Errorf("%v, version %d", ok, v.Manifest().Version)
	}
}

// TestMovingTheHold: a release that the owner asks for while the node is held may be
// started beside the one it is held on; it is what the node is held on once it is good,
// and is given up once it has failed.
func TestMovingTheHold(t *testing.T) {
	for _, good := range []bool{true, false} {
		n := newNode(t)
		next, other := n.release(t, 20), n.release(t, 30)
		for _, r := range []storetest.Release{next, other} {
			if err := ondisk.Keep(n.Store, r); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Moving(next.Verified); err != nil || !n.Store.Pin().Next.IsZero() {
			t.Errorf("a node that is not held: %v, %+v", err, n.Store.Pin())
		}
		if err := n.Store.SetPin(disk.Pin{Release: n.Running.Digest(), Version: 10, By: "me"}); err != nil {
			t.Fatal(err)
		}
		want(t, "startable when held", n.startable(), nil)
		if err := n.Moving(next.Verified); err != nil {
			t.Fatal(err)
		}
		want(t, "startable when moving", n.startable(), []uint64{20})
		if err := n.SettlePin(); err != nil || n.Store.Pin().Next.IsZero() {
			t.Errorf("before it was tried: %v, %+v", err, n.Store.Pin())
		}
		n.try(t, next.Digest(), 2, good)
		held := n.Running.Digest()
		if good {
			held = next.Digest()
			n.Running = next.Verified
			want(t, "startable on the one that was asked for", n.startable(), nil)
		}
		if err := n.SettlePin(); err != nil {
			t.Fatal(err)
		}
		if pin := n.Store.Pin(); pin.Release != held || !pin.Next.IsZero() || pin.By != "me" {
			t.Errorf("good %v: held on %+v", good, pin)
		}
	}
}
