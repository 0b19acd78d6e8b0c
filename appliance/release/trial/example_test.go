package trial_test

import (
	"fmt"
	"os"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/trial"
)

// A release that dies is tried twice at once, and then only on a machine that
// has been up for an hour.
func Example() {
	dir, err := os.MkdirTemp("", "trial")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	release := names.Sum([]byte("a manifest"))
	for _, boot := range []string{"first", "second", "third"} {
		journal := trial.InFolder(dir, trial.Boot{ID: boot, Up: func() time.Duration { return time.Minute }})
		fmt.Println("failed:", journal.Failed(release))
		if err := journal.Begin(release, 1, trial.Expect{}); err != nil {
			fmt.Println("no jump")
		}
	}
	// Output:
	// failed: false
	// failed: false
	// failed: true
	// no jump
}
