package roots_test

import (
	"fmt"

	"phase/appliance/release/roots"
)

func ExampleLoadNamed() {
	_, err := roots.LoadNamed("/nowhere/root.json")
	fmt.Println(err)
	// Output: reading the root (name another with --root): open /nowhere/root.json: no such file or directory
}
