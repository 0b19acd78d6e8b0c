package staging_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"

	"phase/appliance/release/fetch"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/manifest"
	"phase/appliance/release/provide"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// A release is fetched from a provider into a folder.
func Example() {
	t, ctx := storetest.Example{}, context.Background()
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	s := store.New()
	if err := s.Add(ctx, r.Verified, r.Sources()); err != nil {
		fmt.Println(err)
		return
	}
	provider := httptest.NewServer(provide.Handler(provide.Config{Store: s, Channel: "stable", Arch: "x86_64"}))
	defer provider.Close()

	dir, err := os.MkdirTemp("", "staging-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	place, err := staging.Open(dir, r.Verified)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer place.Close()
	missing, err := place.Missing(ctx, manifest.Required)
	fmt.Println(missing, err)
	report, err := fetch.Release(ctx, r.Verified, []string{provider.URL}, place, fetch.Options{Names: missing})
	fmt.Println(report.Bytes, err)
	fmt.Println(place.Commit())
	held, err := staging.Held(dir, signer.Root, "stable", "x86_64")
	fmt.Println(held.Manifest().Version, err)
	// Output:
	// [initramfs kernel rootfs] <nil>
	// 373009 <nil>
	// <nil>
	// 7 <nil>
}
