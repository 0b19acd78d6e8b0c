package machines

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phase/images"
	"phase/qemu"
	"phase/tests/lab"
)

// A disk with sectors of 4096 bytes, flashed with settings, starts by UEFI, has
// the settings in force, is used to its end, and is the same node after a power
// cut.
func TestSectorsOf4096(t *testing.T) {
	for _, bus := range []qemu.Bus{qemu.Virtio, qemu.NVMe} {
		t.Run(string(bus), func(t *testing.T) {
			long(t)
			t.Parallel()
			w, s := open(t, machineArch), segment(t)
			if err := qemu.Available(w.Arch, qemu.UEFI); err != nil {
				missing(t, err)
			}
			stick := filepath.Join(t.TempDir(), "stick.img")
			if err := os.WriteFile(stick, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(stick, 1<<30); err != nil {
				t.Fatal(err)
			}
			flashed(t, w.stub.Disk, loop(t, stick))
			overlay := filepath.Join(t.TempDir(), "stick.qcow2")
			n := w.start(t, s, w.stub, qemu.Config{Name: "node", Firmware: qemu.UEFI,
				Disks: []qemu.Disk{{Path: stick, Overlay: overlay, Bus: bus, Sector: 4096}}})
			line(t, n, lab.Begin, `BdsDxe: starting Boot`)
			line(t, n, lab.Begin, `init: Phase .* mode local,`)
			line(t, n, lab.Begin, `init: the persistent partition has grown by [89]\d\d MiB`)
			id := up(t, n, lab.Begin, stubVersion)
			if again := up(t, n, powerCycle(t, n), stubVersion); again != id {
				t.Errorf("before the power cut %+v, after it %+v", id, again)
			}
			healthy(t, n)
			untroubled(t, n)
			poweredOff(t, n)
			clean(t, overlay)
			filled(t, overlay, 4096)
		})
	}
}

// flashed writes an image to a block device as a person would.
func flashed(t *testing.T, image, device string) {
	t.Helper()
	var out bytes.Buffer
	args := []string{"flash", image, device, "--force", "--yes-erase", device, "--set", "phase.mode=local"}
	if err := images.Run(patient(t), args, strings.NewReader(""), &out, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
}

// loop is a block device with sectors of 4096 bytes, whose content is a file.
func loop(t *testing.T, file string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a block device needs root")
	}
	device := strings.TrimSpace(run(t, "losetup", "--find", "--show", "--sector-size", "4096", file))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return device
}
