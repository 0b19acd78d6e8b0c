package machines

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"phase/appliance/machine/settings"
	"phase/qemu"
	"phase/tests/lab"
)

// question is what a node with phase.menu= asks at each start.
const question = `init: which mode for this boot\? .* mode internet holds on Enter`

// answers waits for the question and types a key on the serial console.
func answers(t *testing.T, n *lab.Node, after qemu.Event, key string) qemu.Event {
	t.Helper()
	_, asked := line(t, n, after, question)
	if _, err := n.Console.Write([]byte(key)); err != nil {
		t.Fatal(err)
	}
	return asked
}

// A digit held at power-on starts the entry of the UEFI menu with that number: the
// machine that nobody attends is in mode internet, as each other test sees.
func TestModeMenu(t *testing.T) {
	for _, c := range []struct {
		key  string
		mode settings.Mode
		long bool
	}{
		{"1", settings.Internet, true},
		{"2", settings.Local, false},
		{"3", settings.Private, true},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			if c.long {
				long(t)
			}
			t.Parallel()
			w, s := open(t, machineArch), segment(t)
			if err := qemu.Available(w.Arch, qemu.UEFI); err != nil {
				missing(t, err)
			}
			n := w.start(t, s, w.stub, qemu.Config{Name: "node", Firmware: qemu.UEFI})
			release := hold(t, n, c.key)
			line(t, n, lab.Begin, fmt.Sprintf(`init: Phase .*, mode %s, booted from stub`, c.mode))
			release()
			up(t, n, lab.Begin, stubVersion)
		})
	}
}

// hold types a key again and again, as a keyboard does while it is held, until
// release is called.
func hold(t *testing.T, n *lab.Node, key string) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		repeat := time.NewTicker(30 * time.Millisecond)
		defer repeat.Stop()
		for {
			select {
			case <-repeat.C:
				if _, err := n.Console.Write([]byte(key)); err != nil {
					done <- err
					return
				}
			case <-ctx.Done():
				done <- nil
				return
			}
		}
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The mode that is chosen on the console stays over the jump into a release, which
// does not ask again; and a node in mode local comes up on the release of its store
// with no network at all.
func TestModeChosen(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	stick := w.roomyStick(t, laptop(t, s, nil, w.next).Setting, "phase.menu=3600")
	disks := []qemu.Disk{{Path: stick.Disk, Overlay: filepath.Join(t.TempDir(), "disk.qcow2")}}
	n := w.start(t, s, stick, qemu.Config{Name: "node", Disks: disks})
	id := chosenLocal(t, n, `update: jumping into`)
	line(t, n, lab.Begin, `init: release `+w.next.Digest.String()+` is good`)
	poweredOff(t, n)

	alone := w.start(t, nil, stick, qemu.Config{Name: "alone", Disks: disks, NICs: []qemu.NIC{}})
	if again := chosenLocal(t, alone, `kexec: loaded`); again != id {
		t.Errorf("it is %+v, and was %+v", again, id)
	}
	line(t, alone, lab.Begin, `net: .*problem: there is no wired network interface`)
	poweredOff(t, alone)
}

// chosenLocal chooses mode local and expects it on the stub and on the release that
// it jumps into, which asks nothing.
func chosenLocal(t *testing.T, n *lab.Node, jumping string) lab.Identity {
	t.Helper()
	asked := answers(t, n, lab.Begin, "x2")
	line(t, n, asked, `init: mode local was chosen at tty(S|AMA)0, for this boot`)
	line(t, n, asked, `init: Phase .*, mode local, booted from stub`)
	_, jump := line(t, n, asked, fmt.Sprintf(jumping+` version %d `, nextVersion))
	line(t, n, jump, `init: Phase .*, mode local, booted from kexec`)
	id := up(t, n, jump, nextVersion)
	line(t, n, jump, `init: plasmd answers`)
	if asks := lines(n, question); asks != 1 {
		t.Errorf("it asked %d times", asks)
	}
	return id
}

// Mode private leaves each byte of the disk as it was, a journal included that a
// power cut has left to be replayed; the next start in another mode replays it.
func TestPrivateKeepsTheDisk(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	overlay := filepath.Join(t.TempDir(), "disk.qcow2")
	n := w.start(t, s, w.stub, qemu.Config{Name: "node", Disks: []qemu.Disk{{Path: w.stick(t, "phase.menu=3600").Disk, Overlay: overlay}}})
	asked := answers(t, n, lab.Begin, "\r")
	line(t, n, asked, `init: mode internet was confirmed at`)
	id := up(t, n, asked, stubVersion)
	n.Kill()
	before := digest(t, overlay, true)

	private := answers(t, n, poweredOn(t, n), "3")
	line(t, n, private, `init: Phase .*, mode private, booted from stub`)
	if hidden := up(t, n, private, stubVersion); hidden.Peer == id.Peer || hidden.Token == id.Token {
		t.Errorf("in mode private it is %+v as before", hidden)
	}
	line(t, n, private, `update: looking for a release newer than version`)
	line(t, n, private, `init: plasmd answers`)
	poweredOff(t, n)
	if after := digest(t, overlay, true); after != before {
		t.Errorf("the disk had the digest %s, and has %s after a boot in mode private", before, after)
	}

	kept := answers(t, n, poweredOn(t, n), "1")
	if again := up(t, n, kept, stubVersion); again != id {
		t.Errorf("it is %+v, and was %+v", again, id)
	}
	poweredOff(t, n)
	if end := digest(t, overlay, false); end == before {
		t.Error("a boot that writes leaves the digest as it was: it is no measure")
	}
}

// poweredOn switches a machine on again.
func poweredOn(t *testing.T, n *lab.Node) qemu.Event {
	t.Helper()
	last := n.Console.Last()
	if err := n.PowerOn(patient(t)); err != nil {
		t.Fatal(err)
	}
	return last
}

// digest is that of all bytes of a disk. dirty is whether the journal of its
// persistent partition is expected to have something to replay.
func digest(t *testing.T, disk string, dirty bool) string {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw.img")
	run(t, "qemu-img", "convert", "-O", "raw", disk, raw)
	said := run(t, "dumpe2fs", "-h", permOf(t, raw))
	empty := regexp.MustCompile(`(?m)^Journal start: +0$`).MatchString(said)
	if got := strings.Contains(said, "needs_recovery") && !empty; got != dirty {
		t.Errorf("the journal has something to replay: %v, want %v:\n%s", got, dirty, said)
	}
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
