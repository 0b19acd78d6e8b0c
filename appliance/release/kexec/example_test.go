package kexec_test

import (
	"fmt"

	"phase/appliance/machine/linux"
	"phase/appliance/release/kexec"
)

// Where version 42 would be staged on machines of different sizes, each with a
// disk that has 1 GiB free.
func ExampleCheckStage() {
	const mib = 1 << 20
	sizes := kexec.Sizes{Kernel: 60 * mib, Initrd: 50 * mib}
	for _, total := range []int64{1024, 256, 128} {
		m := linux.Memory{Total: total * mib, Available: total * mib * 3 / 4}
		onDisk, err := kexec.CheckStage(42, sizes, m, 0, 1<<30)
		fmt.Println(total, "MiB: on disk", onDisk, err)
	}
	// Output:
	// 1024 MiB: on disk false <nil>
	// 256 MiB: on disk true <nil>
	// 128 MiB: on disk false version 42 needs a machine with 164 MiB of memory to come up in and this one has 128 MiB; it is not loaded (busy)
}
