package kexecplan_test

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"phase/appliance/machine/kexecplan"
)

// The header of an arm64 kernel says how much memory it begins in.
func ExampleKernelMemory() {
	kernel := make([]byte, 4096)
	copy(kernel[56:], "ARM\x64")
	binary.LittleEndian.PutUint64(kernel[16:], 24<<20)
	fmt.Println(kexecplan.KernelMemory(bytes.NewReader(kernel)))
	fmt.Println(kexecplan.KernelMemory(bytes.NewReader(make([]byte, 4096))))
	// Output:
	// 25165824 <nil>
	// 0 the kernel has no header that is known
}
