package machines

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

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
// comes up and counts, and each is tried twice.
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
			_, said := line(t, n, jump, `guard: the release on trial did not come up in .*; restarting through the firmware`)
			was := `release ` + bad.Digest.String() + ` was started and did not come up; it `
			_, first := line(t, n, said, `init: problem: `+was+`may be tried once more`)
			up(t, n, first, stubVersion) // after the second try, which follows at once
			problem(t, n, first, was+`is tried again only once`)
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
