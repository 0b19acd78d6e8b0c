package lan

import (
	"testing"

	"phase/tests/netlab"
)

// A node that serves no release is found as a peer, and not as a provider.
func TestPeers(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	c := someConfig("d")
	c.Port, c.Instances = 0, nil
	a, err := Announce(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	a.SetPeer(7420, "0123456789abcdef0123456789abcdef")
	peers, err := Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := <-peers
	if p.ID != c.Peer || p.Interface != "lo" || len(p.Addresses) == 0 || p.Addresses[0].Port() != 7420 {
		t.Errorf("found %+v", p)
	}
}
