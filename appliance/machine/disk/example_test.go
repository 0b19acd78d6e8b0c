package disk_test

import (
	"fmt"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
)

// An image is laid out for what is on it; flashing lays it out again for the
// stick.
func ExampleNewTable() {
	image := disk.NewTable(gpt.NewID([]byte("an image")), map[int]int64{disk.Boot: 20 << 20, disk.Root: 15 << 20})
	stick := disk.FillDisk(image, gpt.Geometry{Sector: gpt.Sector512, Size: 8 << 30})
	for _, p := range stick.Partitions {
		fmt.Printf("%d %s: %d MiB\n", p.Number, p.Name, p.Size>>20)
	}
	// Output:
	// 1 phase-boot: 20 MiB
	// 2 phase-root: 15 MiB
	// 4 phase-perm: 8155 MiB
}
