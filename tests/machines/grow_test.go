package machines

import (
	"path/filepath"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// A stick is larger than the image: the persistent partition has the rest of
// it, and the node makes use of that, whatever is cut off meanwhile.
func TestStickGrows(t *testing.T) {
	t.Parallel()
	w, s := open(t, qemu.X86_64), segment(t)
	stick, err := w.Stick(patient(t), w.stub, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "stick.qcow2")
	n := w.start(t, s, w.stub, qemu.Config{Name: "node", Disks: []qemu.Disk{{Path: stick, Overlay: overlay}}})
	on := lab.Begin
	line(t, n, on, `init: the persistent partition has grown by 9\d\d MiB`)
	id := up(t, n, on, stubVersion)
	on = powerCycle(t, n)
	if again := up(t, n, on, stubVersion); again != id {
		t.Errorf("before the power cut %+v, after it %+v", id, again)
	}
	healthy(t, n)
	poweredOff(t, n)
	clean(t, overlay)
}
