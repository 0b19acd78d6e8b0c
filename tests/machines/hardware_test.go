package machines

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
	"phase/qemu"
	"phase/tests/lab"
)

// One disk image on every firmware and bus, through a jump and back: the disk
// is found again, and what is on it is kept.
func TestHardware(t *testing.T) {
	for _, c := range []struct {
		firmware qemu.Firmware
		bus      qemu.Bus
		long     bool
	}{
		{qemu.UEFI, qemu.USB, false}, // a stick in today's machine
		{qemu.BIOS, qemu.SATA, true},
		{qemu.BIOS, qemu.NVMe, true},
		{qemu.BIOS, qemu.USB, true},
		{qemu.UEFI, qemu.NVMe, true},
		{qemu.UEFI, qemu.SATA, true},
	} {
		if machineArch != qemu.X86_64 && (c.firmware == qemu.BIOS || c.bus == qemu.SATA) {
			continue // a PC has those
		}
		t.Run(fmt.Sprintf("%s-%s", c.firmware, c.bus), func(t *testing.T) {
			if c.long {
				long(t)
			}
			t.Parallel()
			w, s := open(t, machineArch), segment(t)
			if err := qemu.Available(w.Arch, c.firmware); err != nil {
				missing(t, err)
			}
			stick := w.stub
			if !c.long {
				stick = w.stick(t, laptop(t, s, nil, w.next).Setting)
			}
			n := w.start(t, s, stick, qemu.Config{Name: "node", Firmware: c.firmware, Disks: []qemu.Disk{{Path: stick.Disk, Bus: c.bus}}})
			id := up(t, n, lab.Begin, stubVersion)
			if !c.long {
				if after := jumped(t, n, lab.Begin, nextVersion); after.Peer != id.Peer {
					t.Errorf("%s before the jump, %s after it", id.Peer, after.Peer)
				}
				line(t, n, lab.Begin, `init: jumping to release .* is counted \(disk\)`)
			}
			healthy(t, n)
			untroubled(t, n)
		})
	}
}

// The power button ends a node cleanly, and the next power on finds the same node.
func TestPowerButton(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	overlay := filepath.Join(t.TempDir(), "disk.qcow2")
	n := w.start(t, s, w.stub, qemu.Config{Name: "node", Disks: []qemu.Disk{{Path: w.stub.Disk, Overlay: overlay}}})
	id := up(t, n, lab.Begin, stubVersion)
	poweredOff(t, n)
	clean(t, overlay)

	last := n.Console.Last()
	if err := n.PowerOn(patient(t)); err != nil {
		t.Fatal(err)
	}
	if again := up(t, n, last, stubVersion); again != id {
		t.Errorf("before the power-off %+v, after it %+v", id, again)
	}
}

// poweredOff presses the power button and expects a clean end.
func poweredOff(t *testing.T, n *lab.Node) {
	t.Helper()
	before := n.Console.Last()
	if err := n.PowerButton(patient(t)); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{`init: power button`, `init: stopping`, `init: power off`} {
		line(t, n, before, pattern)
	}
	off, err := n.Console.WaitKind(patient(t), before, qemu.PowerOff)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(off.Text, "switched itself off") {
		t.Errorf("the machine went off so: %s", off.Text)
	}
}

// clean expects the persistent partition on a disk to need no repair, not even
// that of its journal.
func clean(t *testing.T, disk string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw.img")
	run(t, "qemu-img", "convert", "-O", "raw", disk, raw)
	perm := permOf(t, raw)
	out := run(t, "e2fsck", "-fn", perm)
	if strings.Contains(run(t, "dumpe2fs", "-h", perm), "needs_recovery") {
		t.Errorf("the persistent partition was not unmounted:\n%s", out)
	}
}

// partition finds a partition on a raw disk.
func partition(t *testing.T, disk *os.File, number int) gpt.Partition {
	t.Helper()
	table, _, err := gpt.Read(disk)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Partitions {
		if p.Number == number {
			return p
		}
	}
	t.Fatalf("there is no partition %d", number)
	return gpt.Partition{}
}

// permOf copies the persistent partition of a raw disk to a file.
func permOf(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := partition(t, f, 4)
	to, err := os.Create(filepath.Join(t.TempDir(), "perm.ext4"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, io.NewSectionReader(f, p.Start, p.Size)); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

// putPerm puts a file system back into the persistent partition of a disk.
func putPerm(t *testing.T, disk, perm string) {
	t.Helper()
	data, err := os.ReadFile(perm)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, partition(t, f, 4).Start); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(patient(t), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Disks that are not what they should be: each is still a node, which says what
// is wrong on its console and in /status.
func TestBrokenDisk(t *testing.T) {
	for _, c := range []struct {
		name    string
		damage  func(t *testing.T, disk *os.File)
		disk    qemu.Disk // how the machine has it
		problem string
		holds   bool // a release
		kept    bool // its identity, over a power cut
		long    bool
	}{
		{name: "manifest", damage: garbageManifest, problem: `release: /boot/manifest.json: .*; nothing is held`, kept: true},
		{name: "perm", damage: garbagePerm, problem: `persistent partition: .*; an empty file system was laid in its place.* are lost`, holds: true, kept: true},
		{name: "boot", damage: garbageBoot, problem: `boot disk: mounting /dev/vda1 \(vfat\) on /boot`, kept: true, long: true},
		{name: "full", damage: fullPerm, problem: `persistent partition: .*(no space left on device|is full).*; nothing is kept`, holds: true, long: true},
		{name: "read-only", disk: qemu.Disk{ReadOnly: true}, problem: `persistent partition: .*; nothing is kept`, holds: true, long: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.long {
				long(t)
			}
			t.Parallel()
			w, s := open(t, machineArch), segment(t)
			c.disk.Path = filepath.Join(t.TempDir(), "disk.img")
			run(t, "cp", "--sparse=always", w.stub.Disk, c.disk.Path)
			if c.damage != nil {
				disk, err := os.OpenFile(c.disk.Path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				c.damage(t, disk)
				if err := disk.Close(); err != nil {
					t.Fatal(err)
				}
			}
			n := w.start(t, s, w.stub, qemu.Config{Name: "node", Disks: []qemu.Disk{c.disk}})
			peer, _ := line(t, n, lab.Begin, lab.LinePeer)
			line(t, n, lab.Begin, lab.LineServing)
			problem(t, n, lab.Begin, c.problem)
			if c.holds {
				up(t, n, lab.Begin, stubVersion)
				healthy(t, n)
				serves(t, n, w.stub)
			} else {
				line(t, n, lab.Begin, `update: .*no updates: `)
				if st := status(t, n); st.Update.State != "off" || st.Update.Last == nil || st.Update.Last.Reason == "" {
					t.Errorf("a node that does not know what it runs says of updates: %+v", st.Update)
				}
			}
			if c.long {
				return
			}
			cut := powerCycle(t, n)
			again, _ := line(t, n, cut, lab.LinePeer)
			if kept := again[0] == peer[0]; kept != c.kept {
				t.Errorf("identity %s, after a power cut %s", peer[0], again[0])
			}
		})
	}
}

// garbageManifest puts something else where the manifest's bytes lie.
func garbageManifest(t *testing.T, disk *os.File) {
	t.Helper()
	p := partition(t, disk, 1)
	files, err := fat.Read(io.NewSectionReader(disk, p.Start, p.Size), p.Size)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := files["manifest.json"]
	if !ok {
		t.Fatal("there is no manifest on the disk")
	}
	garbage(t, disk, p.Start+at.Offset, at.Size)
}

// garbageBoot leaves no file system on the boot partition: the BIOS loader
// takes its kernel from the sectors behind.
func garbageBoot(t *testing.T, disk *os.File) {
	t.Helper()
	garbage(t, disk, partition(t, disk, 1).Start, gpt.Sector512)
}

// garbagePerm overwrites the superblock, and the block before it.
func garbagePerm(t *testing.T, disk *os.File) {
	t.Helper()
	garbage(t, disk, partition(t, disk, 4).Start, 4096)
}

func garbage(t *testing.T, disk *os.File, at, size int64) {
	t.Helper()
	if _, err := disk.WriteAt(bytes.Repeat([]byte{0xA5, 0x5A, '{', '"'}, int(size+3)/4)[:size], at); err != nil {
		t.Fatal(err)
	}
}

// fullPerm fills the persistent partition to its last block.
func fullPerm(t *testing.T, disk *os.File) {
	t.Helper()
	perm := permOf(t, disk.Name())
	free := regexp.MustCompile(`Free blocks: +(\d+)`).FindStringSubmatch(run(t, "dumpe2fs", "-h", perm))
	if free == nil {
		t.Fatal("dumpe2fs does not say how many blocks are free")
	}
	blocks, err := strconv.Atoi(free[1])
	if err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(t.TempDir(), "fill")
	if err := os.WriteFile(fill, bytes.Repeat([]byte{1}, (blocks-8)*4096), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "debugfs", "-w", "-R", "write "+fill+" fill", perm)
	putPerm(t, disk.Name(), perm)
}

// Too little memory for a jump is a refusal in words before anything is
// fetched, never a panic: the node stays on what it has.
func TestTooLittleMemory(t *testing.T) {
	t.Parallel()
	// Enough to start from a disk: on arm64 the firmware needs more, since the kernel lies there unpacked.
	memory := map[string]int{qemu.X86_64: 160, qemu.ARM64: 256}[machineArch]
	w, s := open(t, machineArch), segment(t)
	toll := newToll(0)
	p := laptop(t, s, toll, w.next)
	n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node", MemoryMB: memory})
	up(t, n, lab.Begin, stubVersion)
	_, said := line(t, n, lab.Begin, fmt.Sprintf(`update: .*version %d was not taken: .*%d .*needs .*memory.* has .*MiB.*\(busy\)`, nextVersion, nextVersion))
	st := status(t, n)
	if last := st.Update.Last; last == nil || last.Result != "failed" || last.Code != "busy" || !strings.Contains(last.Reason, "memory") {
		t.Errorf("/status says of the update: %+v", last)
	}
	if st.Health.Status != "healthy" || st.Release.Version != stubVersion {
		t.Errorf("the node is %+v", st)
	}
	if asked := toll.requests(); len(asked) > 0 {
		t.Errorf("it fetched all the same: %v", asked)
	}
	if panics := lines(n, `Kernel panic|Out of memory`); panics > 0 {
		t.Errorf("%d lines of a machine out of memory before %s", panics, said)
	}
}

// The identity of a machine that keeps nothing is new at each boot.
func TestIdentityDiskless(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	bare, err := w.Bare(w.stub)
	if err != nil {
		t.Fatal(err)
	}
	n := w.start(t, s, w.stub, bare.Config(qemu.Config{Name: "node"}))
	id := up(t, n, lab.Begin, stubVersion)
	cut := powerCycle(t, n)
	if again := up(t, n, cut, stubVersion); again.Peer == id.Peer || again.Token == id.Token {
		t.Errorf("after a power cut %+v, before it %+v", again, id)
	}
}
