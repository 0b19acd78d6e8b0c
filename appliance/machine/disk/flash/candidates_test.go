package flash

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loop makes a block device of a file, or of another device.
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

// The kernel's word on a real device: what is on it, who uses it, also through
// another device that is built on it.
func TestLook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	content := make([]byte, 8<<20)
	copy(content[54:], "FAT16   ")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	device := loop(t, file)
	c, err := Look(device)
	if err != nil {
		t.Fatal(err)
	}
	if c.Size != 8<<20 || c.Sector != 512 || c.Bus != "loop" || c.Removable || c.Partition || !strings.Contains(c.Model, file) ||
		c.Refused != "" || len(c.Uses) != 0 || !slices.Equal(c.Holds, []Content{{device, 8 << 20, "FAT"}}) {
		t.Errorf("%+v", c)
	}
	if _, err := OpenTarget(device, false); err == nil || !strings.Contains(err.Error(), "not removable") {
		t.Errorf("opened without force: %v", err)
	}
	upper := loop(t, device)
	if c, err = Look(device); err != nil || !slices.Equal(c.Uses, []Use{{Where: upper, Kind: "device", Device: device}}) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := OpenTarget(device, true); err == nil || !strings.Contains(err.Error(), "part of "+upper) {
		t.Errorf("opened while %s is built on it: %v", upper, err)
	}
	all, err := Candidates()
	if err != nil {
		t.Fatal(err)
	}
	used := false
	for _, d := range all {
		used = used || d.Refused != ""
		if d.Refused == "" && used {
			t.Errorf("%s comes after one that cannot be used", d.Device)
		}
		if d.Size <= 0 || d.Partition {
			t.Errorf("%+v is no disk to write to", d)
		}
	}
	if !slices.ContainsFunc(all, func(d Candidate) bool { return d.Device == upper && d.Refused == "" }) {
		t.Errorf("%s is not listed: %+v", upper, all)
	}
}

// The disk that the running system is on is never written to, by any name.
func TestSystemDisk(t *testing.T) {
	u, err := findUses()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		t.Fatal(err)
	}
	if unix.Major(st.Dev) != 0 && !slices.ContainsFunc(u.of[st.Dev], func(use Use) bool { return use.Where == "/" }) {
		t.Errorf("nobody uses the root's device: %+v", u.of[st.Dev])
	}
	for _, c := range []struct {
		uses []Use
		says string
	}{
		{nil, ""},
		{[]Use{{Where: "/mnt/a stick", Kind: "mount"}}, "unmount /mnt/a stick first"},
		{[]Use{{Where: "/mnt", Kind: "mount"}, {Where: "/boot", Kind: "mount"}}, "this system runs from (/boot)"},
		{[]Use{{Where: "/dev/dm-0", Kind: "device"}, {Where: "/", Kind: "mount"}}, "this system runs from (/)"},
		{[]Use{{Where: "swap", Kind: "swap"}}, "this system runs from (swap)"},
		{[]Use{{Where: "/dev/md0", Kind: "device"}}, "part of /dev/md0"},
	} {
		if err := refuse("/dev/sdx", c.uses); (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.uses, err)
		}
	}
}

func TestParseMount(t *testing.T) {
	for line, want := range map[string]struct {
		number uint64
		at     string
	}{
		`36 35 8:1 / /mnt/a\040stick rw,noatime shared:1 - ext4 /dev/sda1 rw`: {unix.Mkdev(8, 1), "/mnt/a stick"},
		`36 35 259:2 / / rw - ext4 /dev/root rw,errors=continue`:              {unix.Mkdev(259, 2), "/"},
		`22 27 0:21 / /proc rw,relatime - proc proc rw`:                       {},
		`36 35 8:1 /`:  {},
		``:             {},
		`a b c d e - `: {},
	} {
		number, at, ok := parseMount(line)
		if ok != (want.at != "") || ok && (number != want.number || at != want.at) {
			t.Errorf("%q: %d, %q, %v", line, number, at, ok)
		}
	}
}

func TestBus(t *testing.T) {
	const pci = "/sys/devices/pci0000:00/"
	for place, want := range map[string]string{
		pci + "0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb":      "usb",
		pci + "0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda":                  "sata",
		pci + "0000:00:05.0/nvme/nvme0/nvme0n1":                                        "nvme",
		pci + "0000:00:02.0/virtio0/block/vda":                                         "virtio",
		"/sys/devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0": "mmc",
		"/sys/devices/virtual/block/loop0":                                             "loop",
		pci + "0000:00:05.0/host0/target0:0:0/0:0:0:0/block/sda":                       "",
	} {
		if is := bus(place); is != want {
			t.Errorf("%s: %q", place, is)
		}
	}
}
