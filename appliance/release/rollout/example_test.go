package rollout_test

import (
	"fmt"

	"phase/appliance/release/manifest"
	"phase/appliance/release/rollout"
)

// Half of the nodes take a release first, and then all do.
func Example() {
	m := manifest.Manifest{Rollout: &manifest.Rollout{Percent: 50, Seed: "spring"}}
	fmt.Println(rollout.Takes(m, "12D3KooWNode00000"), rollout.Takes(m, "12D3KooWNode00001"))
	m.Rollout = nil
	fmt.Println(rollout.Takes(m, "12D3KooWNode00000"), rollout.Takes(m, "12D3KooWNode00001"))
	// Output:
	// false true
	// true true
}
