package peer

import (
	"net/netip"
	"strings"
	"testing"

	"phase/appliance/machine/link"
)

// TestDialable: a peer cannot have the node dial what is not on its own links.
func TestDialable(t *testing.T) {
	g, err := newGater(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.follow([]link.Interface{{Up: true, Addresses: []netip.Prefix{
		netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("192.168.7.2/24"), netip.MustParsePrefix("fd07::2/64"), netip.MustParsePrefix("45.45.45.2/24"),
	}}})
	n := &Node{gater: g}
	var got []string
	for _, a := range n.dialable(introduction{Addresses: []string{
		"/ip4/192.168.7.9/udp/7420/quic-v1", "/ip6/fd07::9/tcp/7420", // these alone
		"/ip4/192.168.8.9/tcp/7420", "/ip4/127.0.0.1/tcp/22", "/ip4/45.45.45.9/tcp/7420", "/dns4/router.example/tcp/80", "192.168.7.9",
		"/ip4/192.168.7.9/tcp/7420/p2p/12D3KooWPXSJ98pGLk2HnaqiwWB4t6MGxTAKG24cUixfExnYrELk/p2p-circuit",
	}}) {
		got = append(got, a.String())
	}
	if want := "/ip4/192.168.7.9/udp/7420/quic-v1 /ip6/fd07::9/tcp/7420"; strings.Join(got, " ") != want {
		t.Errorf("it would dial %q", got)
	}
}

func FuzzParseIntroduction(f *testing.F) {
	f.Add([]byte(`{"public":["45.45.45.1"]}`))
	f.Add([]byte(`{"addresses":["/ip4/192.168.7.9/udp/7420/quic-v1"]}`))
	f.Add([]byte(`{"public":["","1"],"public":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := parseIntroduction(data)
		if err == nil && (len(i.Public) > maxIntroduced || len(i.Addresses) > maxIntroduced || len(data) > maxIntroduce) {
			t.Errorf("%d bytes were taken as %v", len(data), i)
		}
	})
}
