package machines

import (
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/machine/disk"
	"phase/qemu"
	"phase/tests/lab"
)

// A stick and its copy are in one machine: everything comes from one of them,
// after a jump from the same one, and both are named.
func TestTwoMedia(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	stick := w.stick(t, laptop(t, s, nil, w.next).Setting)
	// By its name the first comes first after a jump; the kernel finds the
	// second one earlier.
	first := map[string]qemu.Bus{qemu.X86_64: qemu.SATA, qemu.ARM64: qemu.NVMe}[w.Arch]
	n := w.start(t, s, stick, qemu.Config{Name: "node", Disks: []qemu.Disk{{Path: stick.Disk, Bus: first}, {Path: stick.Disk, Bus: qemu.Virtio}}})
	const said = `init: problem: boot disk: there are two media .* This boot uses (\w+) alone`
	id := up(t, n, lab.Begin, stubVersion)
	before, at := line(t, n, lab.Begin, said)
	after := jumped(t, n, lab.Begin, nextVersion)
	if after.Peer != id.Peer {
		t.Errorf("%s before the jump, %s after it", id.Peer, after.Peer)
	}
	if again, _ := line(t, n, at, said); again[0] != before[0] {
		t.Errorf("the disk of the node was %s, and after the jump it is %s", before[0], again[0])
	}
	inStatus(t, n, "there are two media")
}

// A stick is pulled out of a node that has come up from RAM by a jump: it runs on,
// serves what it holds, and says that nothing more is kept.
func TestStickVanishes(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	stick := w.stick(t, laptop(t, s, nil, w.next).Setting)
	n := w.start(t, s, stick, qemu.Config{Name: "node", Disks: []qemu.Disk{{Path: stick.Disk, Bus: qemu.USB}}})
	up(t, n, lab.Begin, stubVersion)
	jumped(t, n, lab.Begin, nextVersion)
	healthy(t, n)
	if err := n.Unplug(patient(t), 0); err != nil {
		t.Fatal(err)
	}
	problem(t, n, lab.Begin, `persistent partition: (its disk, sd[a-z], is gone|an error .* read-only); nothing more is kept`)
	healthy(t, n)
	serves(t, n, w.next)
}

// The superblock of the persistent partition cannot be read any more: that says
// nothing about what is on it, so nothing is written there. Where it can be read
// again, the node is who it was.
func TestUnreadableDisk(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	image, err := os.Open(w.stub.Disk)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	superblock := partition(t, image, disk.Perm).Start + 1024
	stick := qemu.Disk{Path: w.stub.Disk, Overlay: filepath.Join(t.TempDir(), "stick.qcow2")}
	started := func(d qemu.Disk, then func(n *lab.Node)) (id lab.Identity) {
		n := w.start(t, s, w.stub, qemu.Config{Name: "node", Disks: []qemu.Disk{d}})
		id = up(t, n, lab.Begin, stubVersion)
		healthy(t, n)
		then(n)
		poweredOff(t, n)
		return id
	}
	id := started(stick, func(*lab.Node) {})
	bad := stick
	bad.Bad = []int64{superblock}
	broken := started(bad, func(n *lab.Node) {
		problem(t, n, lab.Begin, `persistent partition: .*(input/output error|cannot be read).*; nothing is kept`)
	})
	if again := started(stick, func(*lab.Node) {}); again != id || broken == id {
		t.Errorf("%+v at first, %+v on the broken disk, %+v when it can be read again", id, broken, again)
	}
}
