package images

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/base/program"
	"phase/appliance/base/tool"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
)

// loop makes a block device of a file, with sectors of some bytes.
func loop(t *testing.T, file string, sector int) string {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("making a block device needs root")
	}
	out, err := exec.Command("losetup", "--find", "--show", "--sector-size", fmt.Sprint(sector), file).CombinedOutput()
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
	device := loop(t, file, 512)
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
	for _, args := range [][]string{{"--force"}, {"--force", "--yes"}, {"--yes-erase", device}, {"--force", "--yes-erase", file}} {
		if _, log, code := runImages(append([]string{"flash", s.Disk, device}, args...)...); code == 0 || !strings.Contains(log, device) {
			t.Errorf("told once, %s: exit code %d: %s", args, code, log)
		}
	}
	if !bytes.Equal(read(t, file), before) {
		t.Error("a refused device was written to")
	}
	if _, log, code := runImages("flash", s.Disk, device, "--force", "--yes-erase", device); code != 0 {
		t.Errorf("exit code %d: %s", code, log)
	}
	if out, log, code := runImages("inspect", device); code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, log)
	}
}

// A disk with sectors of 4096 bytes gets its table and its boot partition in
// those, other tools agree, and flashed again it keeps what it is
// to keep. What dd makes of the image there starts nowhere, and inspect says so.
func TestFlashOntoSectorsOf4096(t *testing.T) {
	need(t, "sgdisk", "fsck.fat", "e2fsck", "unsquashfs")
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	file := stick(t, 200<<20)
	device := loop(t, file, 4096)

	image := read(t, s.Disk)
	if err := os.WriteFile(device, image, 0); err != nil {
		t.Fatal(err)
	}
	if _, log, code := runImages("inspect", device); code != 1 || !strings.Contains(log, "images flash") || !strings.Contains(log, "4096") {
		t.Errorf("a copy of the image: exit code %d: %s", code, log)
	}

	if _, log, code := runImages("flash", s.Disk, device, "--force", "--yes-erase", device, "--set", "phase.mode=local"); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	before := inspected(t, device, s.Roots.Last())
	if before.Sector != 4096 || before.Bytes != 200<<20 || strings.Join(before.Settings, " ") != "phase.mode=local" {
		t.Errorf("%+v", before)
	}
	if said := runTool(t, "sgdisk", "-p", device); !strings.Contains(said, "phase-perm") || !strings.Contains(said, "4096/") {
		t.Errorf("sgdisk says:\n%s", said)
	}
	perm := before.Partitions[2]
	mark(t, file, []int64{perm.Offset + 200<<10, perm.Offset + perm.Size - 4096})
	kept := section(t, device, perm.Offset, perm.Size)
	if _, log, code := runImages("flash", s.Disk, device, "--force", "--yes-erase", device, "--keep"); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	if after := inspected(t, device, s.Roots.Last()); after.Disk != before.Disk || after.Partitions[2] != perm || !bytes.Equal(section(t, device, perm.Offset, perm.Size), kept) {
		t.Errorf("%+v became %+v, or what was kept was not", before, after)
	}

	// Its copy on a disk of the other kind is no stick either, and no image for one.
	other := loop(t, file, 512)
	if _, log, code := runImages("inspect", other); code != 1 || !strings.Contains(log, "images flash") {
		t.Errorf("on the other kind of disk: exit code %d: %s", code, log)
	}
	if _, log, code := runImages("flash", file, stick(t, 200<<20), "--force"); code != 1 || !strings.Contains(log, "image as it was built") {
		t.Errorf("for the other kind of disk: exit code %d: %s", code, log)
	}
}

// Of a disk that is not removable a person types the name; a yes is not enough.
func TestFlashAsksForTheName(t *testing.T) {
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	file := stick(t, 200<<20)
	device := loop(t, file, 512)
	before := read(t, file)
	for _, c := range []struct {
		types string
		code  int
	}{{"y\n", 1}, {"\n", 1}, {device + "1\n", 1}, {device + "\n", 0}} {
		person, terminal := pty(t)
		if _, err := person.WriteString(c.types); err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		err := Run(t.Context(), []string{"flash", s.Disk, device, "--force"}, terminal, &out, &log)
		if code, _ := program.Code(err); code != c.code || !strings.Contains(log.String(), "not removable. Type its name, "+device) || !strings.Contains(log.String(), "200 MiB, "+file) {
			t.Errorf("%q: exit code %d: %v, %s", c.types, code, err, &log)
		}
		if bytes.Equal(read(t, file), before) != (c.code != 0) {
			t.Errorf("%q: written, or not written", c.types)
		}
	}
}

// Without a target flash lists the disks, and writes nothing.
func TestFlashLists(t *testing.T) {
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	device := loop(t, stick(t, 200<<20), 4096)
	if out, log, code := runImages("flash", s.Disk); code != 0 || !strings.Contains(out, device+" ") || !strings.Contains(out, "200 MiB") || !strings.Contains(out, "needs --force") {
		t.Errorf("exit code %d: %s%s", code, out, log)
	}
	out, log, code := runImages("flash", s.Disk, "--json")
	var list struct{ Disks []flash.Candidate }
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		t.Fatalf("exit code %d: %v, %s%s", code, err, out, log)
	}
	if !slices.ContainsFunc(list.Disks, func(d flash.Candidate) bool { return d.Device == device && d.Sector == 4096 && d.Size == 200<<20 }) {
		t.Errorf("%+v", list)
	}
}

// A disk that takes only so much and then answers with errors, as one that was
// pulled out does: what is said is of use, and nothing starts from it.
func TestFlashOntoADiskThatFails(t *testing.T) {
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	device := failing(t)
	_, log, code := runImages("flash", s.Disk, device, "--force", "--yes-erase", device)
	if code != 1 || !strings.Contains(log, "writing "+device) || !strings.Contains(log, "pulled out, or is broken") || !strings.Contains(log, "write it again") {
		t.Errorf("exit code %d: %s", code, log)
	}
	if _, log, code := runImages("inspect", device); code != 1 {
		t.Errorf("it looks whole: %s", log)
	}
}

// Of one whose device is gone when the error comes, that is said.
func TestFlashOntoADiskThatVanishes(t *testing.T) {
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	device := failing(t)
	var is unix.Stat_t
	if err := unix.Stat(device, &is); err != nil {
		t.Fatal(err)
	}
	// A name that can be taken away, as the kernel does with that of a stick.
	node := filepath.Join(t.TempDir(), filepath.Base(device))
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(is.Rdev)); err != nil {
		t.Skip("no device nodes here: ", err)
	}
	target, err := flash.OpenTarget(node, true)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	image, err := os.Open(s.Disk)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	plan, err := flash.Prepare(image, target.Geometry, gpt.NewID([]byte("a stick")), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = plan.Put(t.Context(), target, func(string) func(int64) {
		if err := os.Remove(node); err != nil {
			t.Error(err)
		}
		return func(int64) {}
	})
	if err == nil || !strings.Contains(err.Error(), "was pulled out, or has switched itself off") || !strings.Contains(err.Error(), "plug it in and write it again") {
		t.Error(err)
	}
}

// failing is a block device that has no room behind it for most of what it says it
// has: from some write on it answers with errors.
func failing(t *testing.T) string {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("no tmpfs here: ", err)
	}
	t.Cleanup(func() { // once the device is gone
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(small, "stick")
	write(t, file, nil)
	if err := os.Truncate(file, 200<<20); err != nil {
		t.Fatal(err)
	}
	return loop(t, file, 512)
}
