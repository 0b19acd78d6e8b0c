package machines

import (
	"fmt"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// A node keeps a release of the other arch, which it could not boot, and a machine
// of that arch boots from it after whoever made the release has gone.
func TestMixedSegment(t *testing.T) {
	long(t)
	for holder, other := range map[string]string{qemu.X86_64: qemu.ARM64, qemu.ARM64: qemu.X86_64} {
		t.Run(holder, func(t *testing.T) {
			t.Parallel()
			w, theirs, s := open(t, holder), open(t, other), segment(t)
			p := laptop(t, s, nil, theirs.next)
			n := w.start(t, s, w.roomyStick(t, p.Setting, "phase.mirror="+other), qemu.Config{Name: "holder"})
			up(t, n, lab.Begin, stubVersion)
			line(t, n, lab.Begin, fmt.Sprintf(`update: mirrors stable/%s version %d, from `, other, nextVersion))
			line(t, n, lab.Begin, fmt.Sprintf(`plasmd: holds release stable/%s version %d `, other, nextVersion))
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			serves(t, n, theirs.next)
			b := theirs.start(t, s, theirs.stub, qemu.Config{Name: "other"})
			jumped(t, b, lab.Begin, nextVersion)
			serves(t, b, theirs.next)
			// Over a power cut too, and it is nothing that the holder would boot.
			on := powerCycle(t, n)
			up(t, n, on, stubVersion)
			line(t, n, on, fmt.Sprintf(`plasmd: holds release stable/%s version %d `, other, nextVersion))
			serves(t, n, theirs.next)
			untroubled(t, n)
		})
	}
}
