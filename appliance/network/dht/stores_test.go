package dht

import (
	"context"
	"encoding/base32"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

func valueKey(fleet string) datastore.Key {
	name := "/phase/" + fleet + "/stable/x86_64/manifest"
	return datastore.NewKey("/phase/" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(name)))
}

// Records of other fleets have a share of the room, whatever comes; the own
// fleet's are always there.
func TestValuesAreBounded(t *testing.T) {
	ctx := context.Background()
	own := strings.Repeat("a", 32)
	v := newValues("me", own)
	put := func(fleet string, size int) error { return v.Put(ctx, valueKey(fleet), make([]byte, size)) }
	if err := put(own, 1000); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range 5 * maxRecords {
		if put(fmt.Sprintf("%032x", i), 1000) != nil {
			refused++
		}
	}
	if v.count != maxRecords || v.bytes != 1000*maxRecords || len(v.held) != maxRecords+1 || refused == 0 {
		t.Errorf("%d records of others with %d bytes are held, %d were refused", v.count, v.bytes, refused)
	}
	for i := range 5 * maxRecords {
		_ = put(fmt.Sprintf("%032x", i), 60_000)
	}
	if v.bytes > maxRecordBytes || v.count == 0 {
		t.Errorf("%d records of others with %d bytes are held", v.count, v.bytes)
	}
	if _, err := v.Get(ctx, valueKey(own)); err != nil {
		t.Errorf("the own fleet's is gone: %v", err)
	}
	// What is closer stays whatever the order.
	closest := map[string]bool{}
	for key := range v.held {
		closest[key.String()] = true
	}
	for i := range 5 * maxRecords {
		_ = put(fmt.Sprintf("%032x", 5*maxRecords-i), 60_000)
	}
	for key := range v.held {
		if !closest[key.String()] && key.String() != valueKey(fmt.Sprintf("%032x", 5*maxRecords)).String() {
			t.Errorf("%s came in when nothing is new", key)
		}
	}
	for key := range v.held {
		if err := v.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	if v.count != 0 || v.bytes != 0 {
		t.Errorf("%d records with %d bytes are left of none", v.count, v.bytes)
	}
	for _, key := range []string{"/phase/" + base32Of("/phase/x/y/z/manifest"), "/phase/!", "/other"} {
		if err := v.Put(ctx, datastore.NewKey(key), nil); err == nil {
			t.Errorf("%s was kept", key)
		}
	}
}

// Entries of providers are bounded as a whole, of one peer and of one content;
// whoever announces much pushes out its own.
func TestProvidersAreBounded(t *testing.T) {
	ctx := context.Background()
	p := newProviders("me")
	put := func(content, peer string) error {
		return p.Put(ctx, datastore.NewKey(join(base32Of(content), base32Of(peer))), []byte("time"))
	}
	has := func(content, peer string) bool {
		ok, _ := p.Has(ctx, datastore.NewKey(join(base32Of(content), base32Of(peer))))
		return ok
	}
	p.own[base32Of("ours")] = true
	for _, err := range []error{put("ours", "honest"), put("theirs", "honest"), put("mine", "me")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for peer := range 100 { // of one host, say
		for content := range 2 * maxOfPeer {
			_ = put(fmt.Sprint("content ", content, " of ", peer), fmt.Sprint("sybil ", peer))
		}
	}
	if p.count > maxProviders || len(p.peers[base32Of("sybil 1")]) > maxOfPeer {
		t.Errorf("%d entries, %d of one peer", p.count, len(p.peers[base32Of("sybil 1")]))
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
	if len(list) != p.count {
		t.Errorf("a query of all lists %d of %d entries", len(list), p.count)
	}
	for _, e := range list {
		_ = p.Delete(ctx, datastore.NewKey(e.Key))
	}
	if p.count != 0 || len(p.content) != 0 || len(p.peers) != 0 {
		t.Errorf("%d entries are left of none", p.count)
	}
}
