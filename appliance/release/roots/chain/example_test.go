package chain_test

import (
	"fmt"

	"phase/appliance/release/roots/chain"
	"phase/tests/storetest"
)

func Example() {
	t := storetest.Example{}
	first := storetest.NewSigner(t)
	second := first.Rotate(t)
	c, err := chain.Parse(first.Root.Raw(), second.Root.Raw())
	fmt.Println(c.Last().Version(), c.Fleet() == first.Chain.Fleet(), err)
	// Output: 2 true <nil>
}
