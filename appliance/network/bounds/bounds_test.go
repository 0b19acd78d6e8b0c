package bounds_test

import (
	"fmt"
	"testing"

	"phase/appliance/network/bounds"
)

func Example() {
	b := bounds.New[string](3, 2)
	fmt.Println(b.Enter("a"), b.Enter("a"), b.Enter("a"), b.Enter("b"), b.Enter("c"))
	b.Leave("a")
	fmt.Println(b.Enter("c"))
	// Output:
	// true true false true false
	// true
}

func TestAllGoAndAllComeAgain(t *testing.T) {
	b := bounds.New[string](10, 1)
	for round := range 3 {
		for i := range 10 {
			if !b.Enter(fmt.Sprint(i)) {
				t.Errorf("round %d: no place for %d", round, i)
			}
		}
		if b.Enter("late") {
			t.Errorf("round %d: one too many", round)
		}
		for i := range 10 {
			b.Leave(fmt.Sprint(i))
		}
	}
}
