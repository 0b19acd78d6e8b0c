package modulecache

import (
	"bytes"
	"testing"
)

// What one requester sent is found for it alone, and what is held is bounded.
func TestRecent(t *testing.T) {
	var r Recent
	one, longer := NewModule([]byte("one")), NewModule([]byte("one more"))
	for range 2 {
		r.Add("me", one)
		r.Add("me", NewModule([]byte("one"))) // held already
		r.Add("you", longer)
	}
	for _, c := range []struct {
		requester, begin string
		want             *Module
	}{{"me", "on", one}, {"me", "one", one}, {"me", "one ", nil}, {"you", "one", longer}, {"you", "two", nil}, {"", "one", nil}} {
		if got := r.Find(c.requester, []byte(c.begin)); got != c.want {
			t.Errorf("%q finds %v for %q", c.begin, got, c.requester)
		}
	}
	if r.Held("me", one.Digest()) != one || r.Held("me", longer.Digest()) != nil || r.Held("you", longer.Digest()) != longer || r.Held("", one.Digest()) != nil {
		t.Error("by its digest, what one sent is not found, or is found for another")
	}
	if len(r.sent) != 2 {
		t.Errorf("%d modules are held", len(r.sent))
	}
	for i := range 20 {
		r.Add("me", NewModule(bytes.Repeat([]byte{byte(i)}, maxRecent/8)))
	}
	r.Add("me", NewModule(make([]byte, maxRecent/2+1)))
	total := 0
	for _, s := range r.sent {
		total += len(s.module.data)
	}
	if total > maxRecent || total != r.bytes || r.Find("me", []byte{19}) == nil || r.Find("me", []byte{0, 0}) != nil {
		t.Errorf("%d bytes are held in %d modules, and %d are counted", total, len(r.sent), r.bytes)
	}
}
