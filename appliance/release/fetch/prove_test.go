package fetch

import (
	"net/http"
	"sync"
	"testing"

	"phase/tests/storetest"
)

// Many providers that lie about everything cost little more than the first of
// them: once one has lied, the others must show that they do not, with the
// smallest artifact.
func TestLiarsCostLittle(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, map[string]int{"kernel": 1 << 20, "initramfs": 64 << 10, "rootfs": 8 << 20})
	liar := changed(honest(t, signer, r), func(b []byte) []byte { return make([]byte, len(b)) })
	// The honest one begins late, so that all may lie before.
	lied, late := make(chan struct{}), honest(t, signer, r)
	once := sync.OnceFunc(func() { close(lied) })
	urls := []string{serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		<-lied
		late.ServeHTTP(w, q)
	}))}
	for range 8 {
		urls = append(urls, serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			liar.ServeHTTP(w, q)
			once()
		})))
	}
	dst := newMemory()
	report, err := Release(t.Context(), r.Verified, urls, dst, impatient)
	if err != nil {
		t.Fatal(err)
	}
	dst.check(t, r)
	if d := report.Providers[0].Dropped; d != nil {
		t.Errorf("the honest one was dropped: %v", d)
	}
	var payload int64
	for _, a := range r.Manifest().Artifacts {
		payload += a.Size
	}
	t.Logf("%d bytes came for %d", report.Bytes, payload)
	if wasted := report.Bytes - payload; wasted > payload+payload/4 {
		t.Errorf("%d bytes were wasted of a payload of %d", wasted, payload)
	}
}
