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
	c.Port, c.Instances, c.PeerPort, c.Fleet = 0, nil, 7420, "0123456789abcdef0123456789abcdef"
	if _, err := Announce(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	peers, err := Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := <-peers
	if p.ID != c.Peer || p.Interface != "lo" || len(p.Addresses) == 0 || p.Addresses[0].Port() != 7420 {
		t.Errorf("found %+v", p)
	}
	c.PeerPort = 0
	if _, err := Announce(t.Context(), c); err == nil {
		t.Error("a node that has neither port announces itself")
	}
}
