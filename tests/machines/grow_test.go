package machines

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// A stick is larger than the image, and was flashed, or got a copy of the image
// as dd and others write it: the persistent partition takes the rest of it, over
// what an older system left there, whatever is cut off meanwhile.
func TestStickGrows(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    int64
		flashed bool
		used    bool // an older system's partition table is on it
		damaged bool // the first header of its partition table is lost
		grown   string
		long    bool
	}{
		{name: "copied to a used stick of an odd size", size: 777_777_777, used: true, grown: `[56]\d\d`},
		{name: "copied to 512 MiB", size: 512 << 20, grown: `[34]\d\d`, long: true},
		{name: "copied to a used stick of 4 GiB", size: 4 << 30, used: true, grown: `[34]\d\d\d`, long: true},
		{name: "flashed", size: 1 << 30, flashed: true, grown: `[89]\d\d`, long: true},
		{name: "flashed and damaged", size: 1 << 30, flashed: true, damaged: true, grown: `[89]\d\d`, long: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.long {
				long(t)
			}
			t.Parallel()
			w, s := open(t, machineArch), segment(t)
			stick := filepath.Join(t.TempDir(), "stick.img")
			if c.flashed {
				var err error
				if stick, err = w.Stick(patient(t), w.stub, c.size); err != nil {
					t.Fatal(err)
				}
			} else {
				copied(t, w.stub.Disk, stick, c.size, c.used)
			}
			if c.damaged {
				damageHeader(t, stick)
			}
			overlay := filepath.Join(t.TempDir(), "stick.qcow2")
			n := w.start(t, s, w.stub, qemu.Config{Name: "node", Disks: []qemu.Disk{{Path: stick, Overlay: overlay}}})
			on := lab.Begin
			line(t, n, on, `init: the persistent partition has grown by `+c.grown+` MiB`)
			id := up(t, n, on, stubVersion)
			on = powerCycle(t, n)
			if again := up(t, n, on, stubVersion); again != id {
				t.Errorf("before the power cut %+v, after it %+v", id, again)
			}
			healthy(t, n)
			untroubled(t, n)
			poweredOff(t, n)
			clean(t, overlay)
			filled(t, overlay, 512)
		})
	}
}

// copied writes the image to the front of a medium of that many bytes, which may
// have had another system on it.
func copied(t *testing.T, image, to string, size int64, used bool) {
	t.Helper()
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(to, size/512*512); err != nil {
		t.Fatal(err)
	}
	if used {
		run(t, "sgdisk", "-n", "1:2048:+64M", "-c", "1:older", "-n", "2:0:0", to)
	}
	run(t, "dd", "if="+image, "of="+to, "conv=notrunc,sparse", "bs=1M")
	if said := run(t, "sgdisk", "-p", to); used && !strings.Contains(said, "phase-perm") {
		t.Fatalf("what was copied is not there:\n%s", said)
	}
}

// damageHeader clears the first header of a disk's partition table.
func damageHeader(t *testing.T, disk string) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	garbage(t, f, 512, 512)
}

// filled expects no fault in the partition table of a disk, and the file system
// of the persistent partition to take the disk to its end.
func filled(t *testing.T, disk string, sector int) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw.img")
	run(t, "qemu-img", "convert", "-O", "raw", disk, raw)
	medium := raw
	if sector != 512 {
		medium = loop(t, raw)
	}
	if said := run(t, "sgdisk", "-v", medium); !strings.Contains(said, "No problems found") {
		t.Errorf("sgdisk says:\n%s", said)
	}
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p := partition(t, f, 4)
	if rest := info.Size() - p.End(); rest > 2<<20 {
		t.Errorf("the persistent partition leaves %d bytes", rest)
	}
	if said := run(t, "dumpe2fs", "-h", permOf(t, raw)); !strings.Contains(said, fmt.Sprintf("Block count:              %d\n", p.Size/4096)) {
		t.Errorf("the file system does not fill its %d bytes:\n%s", p.Size, said)
	}
}
