package walk_test

import (
	"fmt"

	"phase/appliance/release/roots/walk"
	"phase/tests/storetest"
)

func Example() {
	t := storetest.Example{}
	first := storetest.NewSigner(t)
	known := walk.New(first.Root)
	fmt.Println(known.Add(first.Rotate(t).Root.Raw()), known.Last().Version())
	// Output: <nil> 2
}
