package operator_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/release/operator"
)

// A node gives a challenge, and an admin signs an order that answers it, which lets
// it in once.
func Example() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	admins := map[string]ed25519.PublicKey{"12D3KooWAdmin": key.Public().(ed25519.PublicKey)}
	gate := operator.NewGate("12D3KooWNode", admins, rand.Reader)
	challenge, err := gate.Challenge(time.Now())
	if err != nil {
		panic(err)
	}
	order := operator.Order{Node: "12D3KooWNode", Do: operator.Apply, Challenge: challenge}
	signed, err := order.Sign(func(kind string, payload []byte) ([]byte, error) { return envelope.Sign(kind, payload, key) })
	if err != nil {
		panic(err)
	}
	for range 2 {
		got, by, err := gate.Admit(signed, time.Now())
		fmt.Println(got.Do, by, err == nil)
	}
	// Output:
	// apply 12D3KooWAdmin true
	// apply 12D3KooWAdmin false
}
