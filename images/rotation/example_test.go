package rotation_test

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"phase/appliance/release/trust"
	"phase/images/rotation"
)

// The first root of a fleet is a change of nothing.
func Example() {
	spec, err := rotation.Change{
		Expires: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC), Threshold: map[string]int{"root": 2},
		Add: map[string][]ed25519.PublicKey{"root": public("alice", "bob"), "release": public("carol")},
	}.Apply(trust.RootSpec{})
	fmt.Println(spec.Version, err)
	for _, line := range rotation.Differences(trust.RootSpec{}, spec) {
		fmt.Println(line)
	}
	// Output:
	// 1 <nil>
	// role release: + key 60709e2d391864b732b4f0f51e387abb7674387123702357f3d7f0b62905fd6a
	// role release: 1 of 1 must sign
	// role root: + key 1c0c490f1b5528d8173c5de46d131160e4b2c0c3c40a199dd6c1fcbd697a0201
	// role root: + key 34fec43c7fcab9aef3b3cf8aba855e41ee69ca3a6e3faae9dd2033fa1369e6b1
	// role root: 2 of 2 must sign
}
