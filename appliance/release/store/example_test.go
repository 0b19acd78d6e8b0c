package store_test

import (
	"context"
	"fmt"

	"phase/appliance/base/refusal"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

func Example() {
	t := storetest.Example{}
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)

	s := store.New()
	if err := s.Add(context.Background(), r.Verified, r.Sources()); err != nil {
		fmt.Println(err)
		return
	}
	held, ok := s.Newest("stable", "x86_64")
	kernel, _ := held.Artifact("kernel")
	fmt.Println(held.Manifest().Version, ok, kernel.Size())

	// Other bytes than the manifest names are not held.
	sources := r.Sources()
	sources["kernel"] = storetest.Bytes(make([]byte, kernel.Size()))
	err := store.New().Add(context.Background(), r.Verified, sources)
	fmt.Println(refusal.CodeOf(err))
	// Output:
	// 7 true 70001
	// digest
}
