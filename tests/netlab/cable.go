package netlab

import (
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// Wired is Join for programs that look after the wired interfaces of their
// machine themselves: the interface is the end of a virtual cable, has the
// hardware address given (or one of the kernel's choice for ""), and is left
// down and without addresses. Its other end is bridged to the port of the
// switch, which lies in a namespace between the two.
func (s *Switch) Wired(t testing.TB, m *Machine, name, mac string) *Port {
	t.Helper()
	wall := NewMachine(t, m.Name) // by this name the frames are captured
	// The bridge says nothing of its own.
	wall.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
	wall.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
	p := s.Join(t, wall, "port0")
	wall.Do(t, func() error {
		off := false
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "wall0"}, MulticastSnooping: &off}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near0"}, PeerName: name, PeerNamespace: netlink.NsFd(m.ns.Fd())}
		if mac != "" {
			address, err := net.ParseMAC(mac)
			if err != nil {
				return err
			}
			cable.PeerHardwareAddr = address
		}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		for _, end := range []string{"port0", "near0"} {
			l, err := netlink.LinkByName(end)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(l, bridge); err != nil {
				return err
			}
			if err := netlink.LinkSetUp(l); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(bridge)
	})
	return p
}

// Dnsmasq starts a DHCP and name server on an interface of the machine, and one
// that announces it as an IPv6 router when args say so. The path of its lease
// file is returned.
func (m *Machine) Dnsmasq(t testing.TB, iface string, args ...string) (p *Process, leases string) {
	t.Helper()
	m.need(t, "dnsmasq", "dnsmasq-base")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	leases = dir + "/leases"
	p = m.Start(t, Program{Path: "dnsmasq", Quiet: true, Args: append([]string{
		"--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-ping", "--user=root", "--pid-file=",
		"--interface=" + iface, "--bind-dynamic", "--except-interface=lo", "--dhcp-authoritative", "--log-dhcp",
		"--dhcp-leasefile=" + leases,
	}, args...)})
	p.AwaitText(t, "started")
	return p, leases
}
