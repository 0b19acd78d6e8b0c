package disk

import (
	"strings"
	"testing"
)

func TestParsePartition(t *testing.T) {
	const dir = "../../devices/pci0000:00/0000:00:02.0/virtio0/block/vda/"
	p, ok := parsePartition("vda2", dir+"vda2", "MAJOR=253\nMINOR=2\nDEVNAME=vda2\nDEVTYPE=partition\nPARTN=2\nPARTNAME=phase-root\nPARTUUID=3c0dfdf8-29ac-4241-a2ea-b785632f924a\n")
	if want := (Partition{"vda2", "vda", 2, "3c0dfdf8-29ac-4241-a2ea-b785632f924a", "phase-root", place(strings.TrimSuffix(dir, "/"))}); !ok || p != want || p.Device() != "/dev/vda2" {
		t.Errorf("got %+v, %v", p, ok)
	}
	for _, uevent := range []string{"", "DEVTYPE=disk\n", "PARTN=x\n", "PARTN=0\n"} {
		if p, ok := parsePartition("vda", "../../block/vda", uevent); ok {
			t.Errorf("%q is the partition %+v", uevent, p)
		}
	}
	for _, name := range []string{"PARTUUID=none-such", "/dev/none-such"} {
		if found, err := FindPartitions(name); err != nil || len(found) > 0 {
			t.Errorf("a disk that is not there: %+v, %v", found, err)
		}
	}
}

// A disk has the same place whatever numbers the kernel gives it, and another
// one than any other disk.
func TestPlace(t *testing.T) {
	const pci = "../../devices/pci0000:00/"
	seen := map[string]bool{}
	for _, same := range [][]string{
		{pci + "0000:00:02.0/virtio0/block/vda", pci + "0000:00:02.0/virtio3/block/vdb"},
		{pci + "0000:00:03.0/virtio1/block/vdb"},
		{pci + "0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", pci + "0000:00:1f.2/ata1/host5/target5:0:0/5:0:0:0/block/sdc"},
		{pci + "0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0/block/sdb"},
		{pci + "0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:1/block/sdb"},
		{pci + "0000:00:04.0/usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb", pci + "0000:00:04.0/usb1/1-1/1-1:1.0/host7/target7:0:0/7:0:0:0/block/sda"},
		{pci + "0000:00:04.0/usb1/1-2/1-2:1.0/host7/target7:0:0/7:0:0:0/block/sda"},
		{pci + "0000:00:05.0/nvme/nvme0/nvme0n1", pci + "0000:00:05.0/nvme/nvme1/nvme1n1"},
		{pci + "0000:00:05.0/nvme/nvme0/nvme0n2"},
		{pci + "0000:00:06.0/nvme/nvme0/nvme0n1"},
		{"../../devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0"},
	} {
		first := place(same[0])
		if seen[first] || len(first) != 16 {
			t.Errorf("%s has a place that is not its own: %s", same[0], first)
		}
		seen[first] = true
		for _, path := range same[1:] {
			if place(path) != first {
				t.Errorf("%s and %s have different places", same[0], path)
			}
		}
	}
}
