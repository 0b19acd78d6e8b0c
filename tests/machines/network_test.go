package machines

import (
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// A machine without any network is a node all the same: what its console says
// of HTTP is seen over its own loopback.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	w := open(t, qemu.X86_64)
	n := w.start(t, nil, w.stub, qemu.Config{Name: "node", NICs: []qemu.NIC{}})
	up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `init: plasmd answers`)
	line(t, n, lab.Begin, `net: .*problem: there is no wired network interface`)
	line(t, n, lab.Begin, `update: looking for a release newer than version`)
	poweredOff(t, n)
}

// A cable that is plugged in later makes it a node of the network.
func TestNoCarrier(t *testing.T) {
	t.Parallel()
	w, s := open(t, qemu.X86_64), segment(t)
	p := laptop(t, s, nil, w.next)
	n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node", NICs: []qemu.NIC{{Segment: s, Unplugged: true}}})
	up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `init: plasmd answers`)
	_, dark := line(t, n, lab.Begin, `net: .*problem: no cable is plugged in`)
	line(t, n, lab.Begin, `update: .*refused http.*\(unreachable\)`)
	if err := n.SetCarrier(patient(t), 0, true); err != nil {
		t.Fatal(err)
	}
	jumped(t, n, dark, nextVersion)
	untroubled(t, n)
}

// A segment with nobody on it: no server, no provider, no router.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	w, s := open(t, qemu.X86_64), segment(t)
	n := w.start(t, s, w.stub, qemu.Config{Name: "node"})
	id := up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `net: nobody gives addresses here: has a link-local one`)
	line(t, n, lab.Begin, `update: looking for`)
	st := status(t, n)
	if st.Release.Version != stubVersion || st.Peer != id.Peer || st.Health.Status != "healthy" || st.Update.State != "looking" {
		t.Errorf("alone on a segment the node says %+v", st)
	}
	untroubled(t, n) // to be alone is no problem
	serves(t, n, w.stub)
}

// Two NICs, and the only provider behind the second.
func TestProviderOnSecondNIC(t *testing.T) {
	t.Parallel()
	w, first, second := open(t, qemu.X86_64), segment(t), segment(t)
	a := w.start(t, second, w.next, qemu.Config{Name: "A"})
	n := w.start(t, first, w.stub, qemu.Config{Name: "node", NICs: []qemu.NIC{{Segment: first}, {Segment: second}}})
	up(t, a, lab.Begin, nextVersion)
	groups, _ := line(t, n, lab.Begin, `update: found version 20 .* at (\S+)`)
	if want := "http://[" + a.Addr().String() + "%25eth1]:8080"; groups[0] != want {
		t.Errorf("found at %s, want %s", groups[0], want)
	}
	jumped(t, n, lab.Begin, nextVersion)
	serves(t, n, w.next) // asked from the first segment
}
