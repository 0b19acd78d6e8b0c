package providers

import (
	"context"
	"fmt"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// Entries of providers are bounded as a whole, of one peer and of one content;
// whoever announces much pushes out its own.
func TestProvidersAreBounded(t *testing.T) {
	ctx := context.Background()
	p := New("me")
	put := func(content, peer string) error {
		return p.Put(ctx, datastore.NewKey(join(base32Of(content), base32Of(peer))), []byte("time"))
	}
	has := func(content, peer string) bool {
		ok, _ := p.Has(ctx, datastore.NewKey(join(base32Of(content), base32Of(peer))))
		return ok
	}
	p.Prefer("ours")
	for _, err := range []error{put("ours", "honest"), put("theirs", "honest"), put("mine", "me")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for peer := range 40 { // of one host, say
		for content := range maxOfPeer + 10 {
			_ = put(fmt.Sprint("content ", content, " of ", peer), fmt.Sprint("sybil ", peer))
		}
	}
	if p.Len() > maxProviders || len(p.peers[base32Of("sybil 1")]) > maxOfPeer {
		t.Errorf("%d entries, %d of one peer", p.Len(), len(p.peers[base32Of("sybil 1")]))
	}
	if !has("ours", "honest") || !has("theirs", "honest") || !has("mine", "me") {
		t.Error("a crowd pushed out others than its own")
	}
	for peer := range 1000 {
		_ = put("ours", fmt.Sprint("crowd ", peer))
	}
	if n := len(p.content[base32Of("ours")]); n > maxOfContent {
		t.Errorf("one content has %d providers", n)
	}
	results, err := p.Query(ctx, query.Query{Prefix: providersPrefix + base32Of("ours")})
	if err != nil {
		t.Fatal(err)
	}
	if list, _ := results.Rest(); len(list) != len(p.content[base32Of("ours")]) {
		t.Errorf("a query lists %d entries", len(list))
	}
	results, _ = p.Query(ctx, query.Query{Prefix: providersPrefix})
	list, _ := results.Rest()
	if len(list) != p.Len() {
		t.Errorf("a query of all lists %d of %d entries", len(list), p.Len())
	}
	for _, e := range list {
		_ = p.Delete(ctx, datastore.NewKey(e.Key))
	}
	if p.Len() != 0 || len(p.content) != 0 || len(p.peers) != 0 {
		t.Errorf("%d entries are left of none", p.Len())
	}
}
