package refusal_test

import (
	"fmt"

	"phase/appliance/base/refusal"
)

func Example() {
	var err error = refusal.New(refusal.Rollback, "version %d is older than version %d", 3, 5)
	err = fmt.Errorf("choosing a release: %w", err)
	fmt.Println(err)
	fmt.Println(refusal.CodeOf(err))
	// Output:
	// choosing a release: version 3 is older than version 5 (rollback)
	// rollback
}
