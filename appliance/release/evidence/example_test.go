package evidence_test

import (
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/release/evidence"
	"phase/tests/storetest"
)

// A second release of one version is kept once.
func ExampleKeep() {
	t := storetest.Example{}
	dir, err := os.MkdirTemp("", "evidence-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	twin := storetest.NewSigner(t).Release(t, "stable", "x86_64", 7, storetest.Sizes)
	first, err := evidence.Keep(dir, twin.Envelope())
	fmt.Println(filepath.Base(first) == twin.Digest().Hex()+".json", err)
	again, err := evidence.Keep(dir, twin.Envelope())
	fmt.Println(again == "", err)
	// Output:
	// true <nil>
	// true <nil>
}
