package machines

import (
	"bytes"
	"fmt"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// roomy is a stick whose persistent partition has room for three releases.
const roomy = 1 << 30

// roomyStick flashes the stub with settings onto a large stick.
func (w *world) roomyStick(t *testing.T, settings ...string) lab.Release {
	t.Helper()
	r := w.stick(t, settings...)
	path, err := w.Stick(patient(t), r, roomy)
	if err != nil {
		t.Fatal(err)
	}
	r.Disk = path
	return r
}

// TestPowerCycle: a node that took a release comes back on it after a power cut,
// with no provider left, and serves it; a release after it that dies, as soon as it
// runs, costs two tries and brings it back to the good one.
func TestPowerCycle(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	p := laptop(t, s, nil, w.next)
	n := w.start(t, s, w.roomyStick(t, p.Setting), qemu.Config{Name: "node"})
	id := jumped(t, n, lab.Begin, nextVersion)
	line(t, n, lab.Begin, `init: release `+w.next.Digest.String()+` is good`)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	on := powerCycle(t, n)
	line(t, n, on, fmt.Sprintf(`kexec: loaded version %d `, nextVersion))
	if again := up(t, n, on, nextVersion); again.Peer != id.Peer {
		t.Errorf("it is %s, and was %s", again.Peer, id.Peer)
	}
	line(t, n, on, `booted from kexec`)
	healthy(t, n)

	bad := w.altered(t, badVersion, "rootfs", bytes.Repeat([]byte("not what it should be\n"), 1000))
	// Announced: the address that the node was told of did not answer.
	if _, err := laptop(t, s, nil, bad).Announce("second", bad); err != nil {
		t.Fatal(err)
	}
	from := on
	for _, jumps := range []string{`update: jumping into`, `kexec: loaded`} { // the second from the disk
		_, jump := line(t, n, from, fmt.Sprintf(jumps+` version %d `, badVersion))
		reset, err := n.Console.WaitKind(patient(t), jump, qemu.Reset)
		if err != nil {
			t.Fatal(err)
		}
		from = reset
	}
	line(t, n, from, fmt.Sprintf(`kexec: .*version %d of the store is not started: `, badVersion))
	up(t, n, from, nextVersion)
	refused(t, n, from, "failed_before")
}
