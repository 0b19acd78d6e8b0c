package flash

import "testing"

func TestPartitionsOfADisk(t *testing.T) {
	for _, c := range []struct {
		disk, device string
		is           bool
	}{
		{"/dev/sda", "/dev/sda1", true}, {"/dev/sda", "/dev/sdaa", false}, {"/dev/sda", "/dev/sdaa1", false},
		{"/dev/nvme0n1", "/dev/nvme0n1p2", true}, {"/dev/mmcblk0", "/dev/mmcblk0p12", true}, {"/dev/sda", "/dev/sdb1", false},
		{"/dev/sda", "tmpfs", false},
	} {
		if is := isPartition(c.disk, c.device); is != c.is {
			t.Errorf("%s of %s: %v", c.device, c.disk, is)
		}
	}
}
