package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"phase/appliance/network/peer"
)

func somePeers(context.Context) Peers {
	return Peers{Peer: "12D3KooWtest", Addresses: []string{}, Reachability: "unknown", Peers: []Connected{
		{Info: peer.Info{Peer: "12D3KooWother", Path: peer.Relayed, Direction: "outbound", Reason: "a reason"}},
	}}
}

// A node that has no part in the network says so, and one that has lists who is
// connected.
func TestPeers(t *testing.T) {
	c, _ := node(t)
	for _, with := range []func(context.Context) Peers{nil, somePeers} {
		c.Peers = with
		h, err := Handler(c, token)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(h)
		p, err := NewNodeClient(s.URL, token).Peers(t.Context())
		s.Close()
		if with == nil {
			var refused *Refused
			if !errors.As(err, &refused) || refused.Status != 404 || !strings.Contains(refused.Detail, "no part in the network") {
				t.Errorf("without a network: %v", err)
			}
		} else if err != nil || len(p.Peers) != 1 || p.Peers[0].Path != peer.Relayed {
			t.Errorf("%+v, %v", p, err)
		}
	}
}
