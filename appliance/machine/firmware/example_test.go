package firmware_test

import (
	"fmt"

	"phase/appliance/machine/firmware"
)

// A folder that is not the root of a machine says what is missing in it.
func ExampleReadX86() {
	_, err := firmware.ReadX86("/nowhere")
	fmt.Println(err)
	// Output: asking what the running kernel was started with: open /nowhere/sys/kernel/boot_params/data: no such file or directory
}
