package fetch_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

// What a provider answers is worth nothing until a root vouches for it.
func ExampleManifest() {
	t, ctx := storetest.Example{}, context.Background()
	signer, stranger := storetest.NewSigner(t), storetest.NewSigner(t)
	policy := trust.Policy{Channel: "stable", Arch: "x86_64", Now: time.Now()}
	for _, s := range []*storetest.Signer{signer, stranger} {
		envelope := s.Release(t, "stable", "x86_64", 7, storetest.Sizes).Envelope()
		mux := http.NewServeMux()
		mux.HandleFunc("/"+layout.Manifest("stable", "x86_64"), func(w http.ResponseWriter, _ *http.Request) { w.Write(envelope) })
		provider := httptest.NewServer(mux)
		data, err := fetch.Manifest(ctx, fetch.NewClient(), provider.URL, "stable", "x86_64")
		provider.Close()
		if err != nil {
			fmt.Println(err)
			return
		}
		v, err := signer.Root.Verify(data, policy)
		fmt.Printf("%v %q\n", v.Valid(), refusal.CodeOf(err))
	}
	// Output:
	// true ""
	// false "signature"
}
