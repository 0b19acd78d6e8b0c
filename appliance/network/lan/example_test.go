package lan_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"phase/appliance/network/lan"
)

// A node announces the release it holds, and another finds it. It has no output
// here: which nodes there are depends on the network.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_, err := lan.Announce(ctx, lan.Config{
		Name: "phase-1a2b3c4d", Port: 8080, Peer: "12D3KooW…",
		Instances: []lan.Instance{{Channel: "stable", Arch: "x86_64", Version: 42}},
	})
	if err != nil {
		log.Fatal(err)
	}
	found, err := lan.Finder{Channel: "stable", Arch: "x86_64"}.Find(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for a := range found {
		fmt.Println(a.Name, a.Version, a.URLs)
	}
}
