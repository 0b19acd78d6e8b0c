package machines

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"phase/qemu"
	"phase/tests/lab"
)

// hung is a rootfs whose init hangs: nothing panics, nothing is said.
func hung(t *testing.T, arch string) []byte {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	for _, d := range []string{"dev", "proc", "release", "gokrazy"} {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "mv", compiled(t, arch, "./testdata/hang", ""), filepath.Join(tree, "gokrazy", "init"))
	return squashed(t, tree)
}

// A release that hangs is no end either. The watchdog resets the machine, or on
// one without a watchdog the guard that the first init left behind; the stub
// comes up and counts. With a watchdog both tries are followed, as of every
// release that dies; with the guard, which is slower, one.
func TestHungReleaseEnds(t *testing.T) {
	long(t)
	for name, watchdog := range map[string]bool{"watchdog": true, "guard": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := open(t, machineArch), segment(t)
			bad := w.altered(t, badVersion, "rootfs", hung(t, w.Arch))
			p := laptop(t, s, nil, bad)
			n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node", Watchdog: watchdog})
			up(t, n, lab.Begin, stubVersion)
			if st := status(t, n); (st.Watchdog != "none") != watchdog {
				t.Errorf("/status says of the watchdog: %q", st.Watchdog)
			}
			if watchdog {
				tried(t, n, bad, `kexec_core: Starting new kernel`, true)
				if expired := kinds(n, qemu.Watchdog); expired != 2 {
					t.Errorf("the watchdog expired %d times", expired)
				}
				return
			}
			_, jump := line(t, n, lab.Begin, fmt.Sprintf(`update: jumping into version %d `, badVersion))
			// The guard waits longer than anybody else here.
			ctx, cancel := context.WithTimeout(t.Context(), patience+5*time.Minute)
			defer cancel()
			_, said, err := n.Line(ctx, jump, `guard: the release on trial did not come up in .*; restarting through the firmware`)
			if err != nil {
				t.Fatal(err)
			}
			up(t, n, said, stubVersion)
			problem(t, n, said, `release `+bad.Digest.String()+` was started and did not come up; it may be tried once more`)
		})
	}
}

// kinds counts the events of a kind so far.
func kinds(n *lab.Node, kind qemu.Kind) (count int) {
	for _, e := range n.Console.Events() {
		if e.Kind == kind {
			count++
		}
	}
	return count
}
