package netlab

import (
	"testing"

	"github.com/vishvananda/netlink"
)

// Raise brings interfaces up, of the namespace the test runs in, with nothing
// but what the kernel gives them.
func Raise(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Raise brings interfaces of the node up.
func (n *Node) Raise(t *testing.T, names ...string) {
	t.Helper()
	n.Do(t, func() { Raise(t, names...) })
}

// AddAddress gives an interface of the node an address, in CIDR notation.
func (n *Node) AddAddress(t *testing.T, name, prefix string) {
	t.Helper()
	n.Do(t, func() {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			t.Fatal(err)
		}
	})
}
