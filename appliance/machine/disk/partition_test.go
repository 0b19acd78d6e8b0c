package disk

import (
	"errors"
	"testing"
)

func TestParsePartition(t *testing.T) {
	const dir = "../../devices/pci0000:00/0000:00:02.0/virtio0/block/vda/"
	p, ok := parsePartition("vda2", dir+"vda2", "MAJOR=253\nMINOR=2\nDEVNAME=vda2\nDEVTYPE=partition\nPARTN=2\nPARTUUID=3c0dfdf8-29ac-4241-a2ea-b785632f924a\n")
	if want := (Partition{"vda2", "vda", 2, "3c0dfdf8-29ac-4241-a2ea-b785632f924a"}); !ok || p != want || p.Device() != "/dev/vda2" {
		t.Errorf("got %+v, %v", p, ok)
	}
	for _, uevent := range []string{"", "DEVTYPE=disk\n", "PARTN=x\n", "PARTN=0\n"} {
		if p, ok := parsePartition("vda", "../../block/vda", uevent); ok {
			t.Errorf("%q is the partition %+v", uevent, p)
		}
	}
	if _, err := FindPartition("PARTUUID=none-such"); !errors.Is(err, ErrNoDisk) {
		t.Errorf("a disk that is not there: %v", err)
	}
	if _, err := FindPartition("/dev/none-such"); !errors.Is(err, ErrNoDisk) {
		t.Errorf("a disk that is not there: %v", err)
	}
}
