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
