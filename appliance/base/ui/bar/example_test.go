package bar_test

import (
	"os"

	"phase/appliance/base/ui/bar"
)

// A bar is for a terminal; anywhere else it says nothing.
func Example() {
	b := bar.Start(os.Stdout, "writing", 100)
	b.Add(60)
	b.Set(100)
	b.Close()
	// Output:
}
