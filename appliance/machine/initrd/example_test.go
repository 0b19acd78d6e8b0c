package initrd_test

import (
	"fmt"

	"phase/appliance/machine/initrd"
)

// A download is written straight to the place from which the next kernel reads it.
func Example() {
	layout, err := initrd.NewLayout(5000, []initrd.File{{Name: "release/vmlinuz", Size: 1 << 20}, {Name: "release/rootfs.squashfs", Size: 9 << 20}})
	if err != nil {
		panic(err)
	}
	at, size, ok := layout.Offset("release/rootfs.squashfs")
	fmt.Println(at, size, ok, layout.Size())
	// Output: 1053960 9437184 true 10491268
}
