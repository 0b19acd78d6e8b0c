package qemu

import (
	"io"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// gateway sends everything of a host by a router.
func gateway(t *testing.T, h *Host, address, via string) {
	t.Helper()
	if err := h.AddAddress(netip.MustParsePrefix(address)); err != nil {
		t.Fatal(err)
	}
	h.stack.SetRouteTable([]tcpip.Route{
		{Destination: subnet(netip.MustParsePrefix(address).Masked()), NIC: h.nic},
		{Destination: subnet(netip.MustParsePrefix("0.0.0.0/0")), Gateway: tcpip.AddrFromSlice(netip.MustParseAddr(via).AsSlice()), NIC: h.nic},
	})
}

// A router carries connections both ways and no multicast.
func TestRouter(t *testing.T) {
	a, b := segment(t), segment(t)
	r, err := NewRouter(a, netip.MustParsePrefix("10.1.0.1/24"), b, netip.MustParsePrefix("10.2.0.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	one, two := host(t, a, "one"), host(t, b, "two")
	gateway(t, one, "10.1.0.2/24", "10.1.0.1")
	gateway(t, two, "10.2.0.2/24", "10.2.0.1")
	l, err := two.Listen("10.2.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	heard, err := two.ListenPacket("224.0.0.251:5353")
	if err != nil {
		t.Fatal(err)
	}
	multicast := make(chan struct{})
	go func() {
		if _, _, err := heard.ReadFrom(make([]byte, 1500)); err == nil {
			close(multicast)
		}
	}()
	said, err := one.Dial(t.Context(), "udp", "224.0.0.251:5353")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := said.Write([]byte("is anybody there")); err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = c.Write([]byte("over the hop"))
			c.Close()
		}
	}()
	c, err := one.Dial(t.Context(), "tcp", "10.2.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); err != nil || string(text) != "over the hop" {
		t.Errorf("%q, %v", text, err)
	}
	select {
	case <-multicast:
		t.Error("the router forwards multicast")
	default: // what was sent before the connection would have come before it
	}
	heard.Close()
}
