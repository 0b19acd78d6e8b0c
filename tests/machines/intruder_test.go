package machines

import (
	"strconv"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// Whoever has taken plasmd over, before the walls that plasmd builds around itself,
// can neither write what the node keeps nor load a kernel nor stop anything: on a
// whole node, with a store, as plasmd's own user.
func TestIntruder(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	bad := w.altered(t, badVersion, "rootfs", wrapped("intruder")(t, w))
	n := w.start(t, s, w.roomyStick(t, laptop(t, s, nil, bad).Setting), qemu.Config{Name: "node"})
	up(t, n, lab.Begin, stubVersion)
	jumped(t, n, lab.Begin, badVersion)
	_, good := line(t, n, lab.Begin, `init: release `+bad.Digest.String()+` is good`)
	line(t, n, lab.Begin, `update: .*walls around this program`)
	// Once more: the store is there when plasmd starts.
	on := powerCycle(t, n)
	up(t, n, on, badVersion)
	_, from := line(t, n, on, `booted from kexec`)
	found, _ := line(t, n, from, `plasmd: intruder: tried (\d+) things beside (\d+) blobs and could do (\d+): (.*)`)
	tried, _ := strconv.Atoi(found[0])
	blobs, _ := strconv.Atoi(found[1])
	if tried < 20 || blobs < 3 || found[2] != "0" {
		t.Errorf("after %s: tried %s things beside %s blobs, and could do %s: %s", good, found[0], found[1], found[2], found[3])
	}
	healthy(t, n)
}
