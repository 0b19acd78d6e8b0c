package identity_test

import (
	"bytes"
	"fmt"
	"os"

	"phase/appliance/base/identity"
)

// A node that keeps nothing has an identity for one boot.
func ExampleEphemeral() {
	id, err := identity.Ephemeral(bytes.NewReader(make([]byte, 32))) // rand.Reader on a node
	if err != nil {
		panic(err)
	}
	key, err := identity.ParsePeerID(id.PeerID())
	fmt.Println(id.Name(), id.PeerID(), id.Public().Equal(key), err)
	// Output: phase-139e3940 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN true <nil>
}

// Any other has the same one at each start.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "identity")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	first, err := identity.Load(dir)
	if err != nil {
		panic(err)
	}
	again, err := identity.Load(dir)
	fmt.Println(first.Name() == again.Name(), err)
	// Output: true <nil>
}
