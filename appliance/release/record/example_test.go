package record_test

import (
	"fmt"
	"time"

	"phase/appliance/release/record"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

func Example() {
	t := storetest.Example{}
	signer := storetest.NewSigner(t)
	release := signer.Release(t, "stable", "arm64", 42, storetest.Sizes)
	published, err := record.Make(signer.Chain, release.Envelope(), time.Now())
	if err != nil {
		panic(err)
	}
	// Anyone can check it, by its key alone.
	read, err := record.Parse(published.Key(), published.Value(), time.Now())
	fmt.Println(read.Version(), err)
	// Booting it is another question, for one's own roots to answer.
	v, _, err := read.For(signer.Chain, trust.Policy{Channel: "stable", Arch: "arm64", Now: time.Now()})
	fmt.Println(v.Valid(), err)
	// Output:
	// 42 <nil>
	// true <nil>
}
