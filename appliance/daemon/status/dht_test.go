package status

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"phase/appliance/network/dht"
	"phase/appliance/release/store"
	"phase/tests/await"
	"phase/tests/peertest"
	"phase/tests/storetest"
)

// The figures of the DHT are there once it is open.
func TestTable(t *testing.T) {
	signer := storetest.NewSigner(t)
	node := peertest.Start(t, peertest.Config{Roots: signer.Chain})
	peertest.Start(t, peertest.Config{Roots: signer.Chain, Known: []peertest.Node{node},
		Held: []storetest.Release{signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)}})
	var table *dht.DHT
	s := New(Config{Store: store.New(), Held: func() error { return nil }, Now: time.Now, Table: func() *dht.DHT { return table }})
	show := func() string {
		w := httptest.NewRecorder()
		s.metrics.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	if text := show(); strings.Contains(text, "phase_dht_") {
		t.Error("figures of a table that is not open")
	}
	table = node.DHT
	if err := await.Until(t.Context(), func() bool {
		text := show()
		return strings.Contains(text, "phase_dht_routing_table_peers 1\n") && strings.Contains(text, "phase_dht_records 1\n")
	}); err != nil {
		t.Errorf("%v:\n%s", err, show())
	}
}
