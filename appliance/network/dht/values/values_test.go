package values

import (
	"context"
	"encoding/base32"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"
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
	v := New("me", own)
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
	for _, key := range []string{"/phase/" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte("/phase/x/y/z/manifest")), "/phase/!", "/other"} {
		if err := v.Put(ctx, datastore.NewKey(key), nil); err == nil {
			t.Errorf("%s was kept", key)
		}
	}
}
