package choice_test

import (
	"fmt"

	"phase/appliance/release/choice"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/tests/storetest"
)

// A release that died twice is passed over, and the good one before it is started.
func ExampleNode_Order() {
	signer := storetest.NewSigner(storetest.Example{})
	release := func(version uint64) storetest.Release {
		return signer.Release(storetest.Example{}, "stable", "x86_64", version, storetest.Sizes)
	}
	node := choice.Node{Running: release(1).Verified, Channel: "stable", Trials: true}
	for _, c := range node.Order([]choice.Candidate{
		{Release: disk.Release{Verified: release(3).Verified}, Record: trial.Record{Tries: 2}},
		{Release: disk.Release{Verified: release(2).Verified}, Record: trial.Record{Good: true}},
	}) {
		fmt.Println("start version", c.Manifest().Version)
	}
	// Output: start version 2
}
