package linux_test

import (
	"fmt"

	"phase/appliance/machine/linux"
)

func ExampleParseMemory() {
	m, err := linux.ParseMemory([]byte("MemTotal: 465756 kB\nMemAvailable: 435488 kB\n"))
	fmt.Println(m.Total, m.Available, err)
	// Output: 476934144 445939712 <nil>
}

// A Recorder stands for the kernel where a jump would be the end of the test.
func ExampleRecorder() {
	var kernel linux.Recorder
	_ = kernel.Load(linux.Part{}, linux.Part{}, "panic=10")
	loaded, _ := kernel.Loaded()
	_ = kernel.Jump()
	fmt.Println(loaded, kernel.Calls())
	// Output: true [load panic=10 jump]
}
