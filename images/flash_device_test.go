package images

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/base/tool"
)

// loop makes a block device of a file.
func loop(t *testing.T, file string) string {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("making a block device needs root")
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Skipf("no loop devices here: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return device
}

// A block device that is in use is not written to, not even by force; one that
// is not removable only by force.
func TestFlashOntoADevice(t *testing.T) {
	need(t, "mkfs.ext4")
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	file := stick(t, 200<<20)
	device := loop(t, file)
	mkfs, err := tool.Find("mkfs.ext4")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	at := t.TempDir()
	if err := unix.Mount(device, at, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	mounted := true
	t.Cleanup(func() {
		if mounted {
			_ = unix.Unmount(at, 0)
		}
	})
	for _, force := range []bool{false, true} {
		args := []string{"flash", s.Disk, device}
		if force {
			args = append(args, "--force")
		}
		if _, log, code := runImages(args...); code != 1 || !strings.Contains(log, "unmount "+at) {
			t.Errorf("mounted, force %v: exit code %d: %s", force, code, log)
		}
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	mounted = false
	before := read(t, file)
	if _, log, code := runImages("flash", s.Disk, device); code != 1 || !strings.Contains(log, "not removable") {
		t.Errorf("exit code %d: %s", code, log)
	}
	if !bytes.Equal(read(t, file), before) {
		t.Error("a refused device was written to")
	}
	if _, log, code := runImages("flash", s.Disk, device, "--force"); code != 0 {
		t.Errorf("exit code %d: %s", code, log)
	}
	if out, log, code := runImages("inspect", device); code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, log)
	}
}
