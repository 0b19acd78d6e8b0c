package machines

import (
	"testing"

	"phase/qemu"
	"phase/tests/await"
	"phase/tests/lab"
)

// A machine without any network is a node all the same: what its console says
// of HTTP is seen over its own loopback.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	w := open(t, machineArch)
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
	w, s := open(t, machineArch), segment(t)
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

// A segment with nobody on it: no server, no provider, no router, and nobody who
// answers at the console.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	stick := w.stick(t, "phase.menu=1")
	n := w.start(t, s, stick, qemu.Config{Name: "node"})
	line(t, n, lab.Begin, `init: no mode was chosen; mode internet holds`)
	id := up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `net: nobody gives addresses here: has a link-local one`)
	line(t, n, lab.Begin, `update: looking for`)
	st := status(t, n)
	if st.Release.Version != stubVersion || st.Peer != id.Peer || st.Health.Status != "healthy" || st.Update.State != "looking" {
		t.Errorf("alone on a segment the node says %+v", st)
	}
	untroubled(t, n) // to be alone is no problem
	serves(t, n, stick)
}

// Two NICs, and the only provider behind the second.
func TestProviderOnSecondNIC(t *testing.T) {
	t.Parallel()
	w, first, second := open(t, machineArch), segment(t), segment(t)
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

// What hypervisors give by default and this kernel has no driver for is named,
// with what to choose instead, also when it is plugged in later; and a card that
// has a driver makes a running node one of the network.
func TestCardsWithoutDriver(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	n := w.start(t, nil, w.stub, qemu.Config{Name: "node", NICs: []qemu.NIC{
		{Segment: s, Absent: true}, {Segment: s, Model: "vmxnet3"}, {Segment: s, Model: "pcnet"}, {Segment: s, Model: "rtl8139"}, {Segment: s, Model: "usb-net", Absent: true},
	}})
	up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `net: .*problem: this kernel has no driver for the network card 15ad:07b0 \(VMware VMXNET3, pci \S+\): choose e1000e`)
	line(t, n, lab.Begin, `net: .*problem: this kernel has no driver for the network card 1022:2000 \(AMD PCnet.*: choose virtio-net or`)
	line(t, n, lab.Begin, `net: .*problem: this kernel has no driver for the network card 10ec:8139 \(Realtek 8139C\+.*: choose virtio-net or`)
	if err := n.PlugNIC(patient(t), 4); err != nil {
		t.Fatal(err)
	}
	_, bare := line(t, n, lab.Begin, `net: .*problem: this kernel has no driver for the network card 0525:a4a2 \(USB Ethernet`)
	if err := n.PlugNIC(patient(t), 0); err != nil {
		t.Fatal(err)
	}
	line(t, n, bare, `net: nobody gives addresses here: has a link-local one`)
	if err := await.Until(patient(t), func() bool {
		i := status(t, n).Network.Interfaces
		return len(i) == 1 && i[0].Driver == "virtio_net" && i[0].State == "up" && i[0].Waiting == "for a DHCP server" && i[0].MTU == 1500
	}); err != nil {
		t.Errorf("the node says %+v", status(t, n).Network.Interfaces)
	}
	inStatus(t, n, "15ad:07b0")
	serves(t, n, w.stub)
}
