package kept_test

import (
	"fmt"

	"phase/appliance/release/update/kept"
)

// A disk without room for a second release is told from other failures: the node
// takes the release from memory then.
func ExampleKeeper_Fetch() {
	fmt.Println(kept.ErrNoRoom)
	// Output: the disk has no room for another release
}
