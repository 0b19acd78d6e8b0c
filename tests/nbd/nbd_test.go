package nbd

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/tool"
)

const mib = 1 << 20

// served is a disk of zeros and a server for it.
func served(t *testing.T, size int64) (*Disk, *Server) {
	t.Helper()
	d, err := NewDisk(strings.NewReader(""), size)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return d, s
}

// client is a run of one of QEMU's programs. It ends after a minute at most.
func client(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := tool.Find(name)
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

// qemuIO is QEMU's block layer, as a machine's disk uses it, with a command each.
func qemuIO(t *testing.T, s *Server, commands ...string) *exec.Cmd {
	t.Helper()
	args := []string{"-f", "raw", "-t", "writeback"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return client(t, "qemu-io", append(args, s.URI())...)
}

// done runs commands to their end.
func done(t *testing.T, s *Server, commands ...string) {
	t.Helper()
	if out, err := qemuIO(t, s, commands...).CombinedOutput(); err != nil || strings.Contains(string(out), "rror") {
		t.Fatalf("%q: %v\n%s", commands, err, out)
	}
}

// cutDuring runs commands, of which the disk carries out the given number of
// changes, and then loses all that is not flushed.
func cutDuring(t *testing.T, d *Disk, s *Server, changes int, commands ...string) {
	t.Helper()
	d.FreezeAfter(changes)
	frozen := d.Frozen()
	cmd := qemuIO(t, s, commands...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-frozen
	_ = cmd.Process.Kill() // it waits for an answer
	_ = cmd.Wait()         // it was killed
	if err := d.LoseAll(); err != nil {
		t.Fatal(err)
	}
	d.PowerOn()
}

// holds expects every byte of a range to be b.
func holds(t *testing.T, d *Disk, offset, length int64, b byte) {
	t.Helper()
	p := make([]byte, length)
	if _, err := d.ReadAt(p, offset); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p, bytes.Repeat([]byte{b}, len(p))) {
		t.Errorf("%d bytes at %d are not all %#x", length, offset, b)
	}
}

func TestClientsSeeTheDisk(t *testing.T) {
	_, s := served(t, 5*mib+Sector)
	out, err := client(t, "qemu-img", "info", "--output=json", "-f", "raw", s.URI()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"virtual-size": 5243392`) {
		t.Errorf("qemu-img info: %v\n%s", err, out)
	}
	out, err = client(t, "qemu-nbd", "--list", "-k", s.Socket()).CombinedOutput()
	for _, want := range []string{"exports available: 1", "size:  5243392", "flush", "fua", "trim", "min block: 512"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("qemu-nbd --list: %v: no %q in\n%s", err, want, out)
		}
	}
}

func TestWritesAreReadBack(t *testing.T) {
	d, s := served(t, 4*mib)
	done(t, s, "write -P 0x11 0 1M", "write -P 0x22 512 512", "write -P 0x33 5k 9k", "flush", "discard 64k 64k",
		"read -P 0x11 0 512", "read -P 0x22 512 512", "read -P 0x11 1k 4k", "read -P 0x33 5k 9k", "read -P 0 64k 64k", "read -P 0 3M 1M")
	holds(t, d, 512, 512, 0x22)
	if c := d.Count(); c.Flushes == 0 || c.Trims == 0 || c.Writes < 3 || c.Reads == 0 {
		t.Errorf("%+v", c)
	}
}

// What was flushed outlasts a power cut; what was written after it does not, when
// the cut takes all.
func TestFlushIsHonoured(t *testing.T) {
	d, s := served(t, 4*mib)
	cutDuring(t, d, s, 4, "write -P 0x11 0 64k", "flush", "write -P 0x22 0 64k", "write -P 0x33 1M 64k", "write -P 0x44 2M 64k")
	holds(t, d, 0, 64<<10, 0x11)
	holds(t, d, 1*mib, 64<<10, 0)
	holds(t, d, 2*mib, 64<<10, 0)
	// The disk is one that can be used again.
	done(t, s, "read -P 0x11 0 64k", "write -P 0x55 0 64k")
	holds(t, d, 0, 64<<10, 0x55)
}

// A write with FUA outlasts the cut alone: not what was written before it, and
// what was pending for the same sectors does not come back over it.
func TestFUAIsHonoured(t *testing.T) {
	d, s := served(t, 4*mib)
	cutDuring(t, d, s, 4, "write -P 0x11 1M 64k", "write -P 0x22 0 64k", "write -f -P 0x33 4k 8k", "write -P 0x44 6k 1k")
	holds(t, d, 0, 4<<10, 0)
	holds(t, d, 4<<10, 8<<10, 0x33)
	holds(t, d, 12<<10, 52<<10, 0)
	holds(t, d, 1*mib, 64<<10, 0)

	done(t, s, "write -P 0x01 0 64k") // qemu-io flushes when it ends
	cutDuring(t, d, s, 2, "write -P 0x02 0 16k", "write -f -P 0x03 4k 4k", "flush")
	holds(t, d, 0, 4<<10, 0x01)
	holds(t, d, 4<<10, 4<<10, 0x03)
	holds(t, d, 8<<10, 56<<10, 0x01)
}

// A disk that lies about its flushes is seen to.
func TestLie(t *testing.T) {
	d, s := served(t, 4*mib)
	d.Lie(true)
	cutDuring(t, d, s, 3, "write -P 0x11 0 64k", "flush", "write -P 0x22 0 64k")
	holds(t, d, 0, 64<<10, 0)
}

// The same without FUA: the rig sees the difference.
func TestNothingIsKeptWithoutFlush(t *testing.T) {
	d, s := served(t, 4*mib)
	cutDuring(t, d, s, 2, "write -P 0x33 4k 8k", "write -P 0x44 1M 1k")
	holds(t, d, 0, 4*mib, 0)
}

func TestFaults(t *testing.T) {
	d, s := served(t, 4*mib)
	fails := func(says string, commands ...string) {
		t.Helper()
		out, _ := qemuIO(t, s, commands...).CombinedOutput() // its exit status tells nothing
		if !strings.Contains(string(out), says) {
			t.Errorf("%q: %s", commands, out)
		}
	}
	d.Break(Fault{First: 1 * mib, Last: 2*mib - 1, Reads: true})
	fails("Input/output error", "read 1M 4k")
	fails("Input/output error", "read 1020k 8k")
	done(t, s, "write -P 1 1M 4k", "read 0 1M", "read 2M 1M")
	d.Mend()
	done(t, s, "read -P 1 1M 4k")
	d.Break(Fault{First: 0, Last: d.Size(), Writes: true})
	fails("Input/output error", "write 0 4k")
	done(t, s, "read 0 4M")
	d.Mend()
	d.SetReadOnly(true)
	fails("Permission denied", "write 0 4k")
	d.SetReadOnly(false)
	done(t, s, "write 0 4k")
}

// A disk that is pulled out closes what is open, and comes back.
func TestVanish(t *testing.T) {
	d, s := served(t, 4*mib)
	x := dial(t, s)
	d.Vanish()
	d.Vanish() // twice is once
	if _, err := x.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still there")
	}
	if out, err := qemuIO(t, s, "read 0 4k").CombinedOutput(); err == nil {
		t.Errorf("a disk that is gone was opened: %s", out)
	}
	d.PowerOn()
	done(t, s, "read 0 4k")
}
