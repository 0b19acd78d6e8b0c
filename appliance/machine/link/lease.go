package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// lease is what a DHCP server granted, checked.
type lease struct {
	address netip.Prefix
	server  netip.Addr
	routes  []route
	dns     []netip.Addr
	mtu     int // of the link; 0 when nothing is said, unreadable when nobody can read it
	granted time.Time
	renew   time.Duration // T1, from granted
	rebind  time.Duration // T2
	expire  time.Duration
}

// route leads to a destination by a gateway on the link, or directly.
type route struct {
	to  netip.Prefix
	via netip.Addr // zero for directly
}

// Bounds on what a server may grant. RFC 2131 has none: a lease of a second
// would keep the node asking, one of for ever could never be taken back.
const (
	minLease  = time.Minute
	maxLease  = 7 * 24 * time.Hour
	maxRoutes = 32
	maxDNS    = 4
)

// unreadable stands for an MTU of more or fewer bytes than it has.
const unreadable = -1

// mtuOf reads the MTU of the link, RFC 2132 §5.1.
func mtuOf(ack *dhcpv4.DHCPv4) int {
	switch b := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) {
	case 0:
		return 0
	case 2:
		return int(binary.BigEndian.Uint16(b))
	default:
		return unreadable
	}
}

// leaseOf reads a server's offer or acknowledgement. A lease shorter than
// least is taken for least.
func leaseOf(ack *dhcpv4.DHCPv4, now time.Time, least time.Duration) (lease, error) {
	addr, ok := v4(ack.YourIPAddr)
	if !ok || !usable(addr) {
		return lease{}, fmt.Errorf("the DHCP server offers the address %v, which no machine can have", ack.YourIPAddr)
	}
	bits, _ := ack.YourIPAddr.DefaultMask().Size() // for servers that still leave the mask out
	if mask := ack.SubnetMask(); mask != nil {
		ones, size := mask.Size()
		if size != 32 || ones < 8 || ones > 32 {
			return lease{}, fmt.Errorf("the DHCP server offers the network mask %v; between /8 and /32 is accepted", net.IP(mask))
		}
		bits = ones
	}
	l := lease{address: netip.PrefixFrom(addr, bits), granted: now}
	if l.server, ok = v4(ack.ServerIdentifier()); !ok {
		return lease{}, errors.New("the DHCP server does not name itself")
	}
	l.expire = min(max(ack.IPAddressLeaseTime(time.Hour), least), maxLease)
	// RFC 2131 §4.4.5 gives the defaults; what is out of order is replaced.
	l.renew = ack.IPAddressRenewalTime(l.expire / 2)
	l.rebind = ack.IPAddressRebindingTime(l.expire * 7 / 8)
	if l.renew < least/2 || l.renew >= l.rebind || l.rebind >= l.expire {
		l.renew, l.rebind = l.expire/2, l.expire*7/8
	}
	l.routes = routesOf(ack, l.address)
	l.mtu = mtuOf(ack)
	for _, ip := range ack.DNS() {
		if a, ok := v4(ip); ok && usable(a) && len(l.dns) < maxDNS {
			l.dns = append(l.dns, a)
		}
	}
	return l, nil
}

// routesOf are the gateways a lease brings. Where there are classless routes
// the router option is ignored, RFC 3442. A gateway must be on the link.
func routesOf(ack *dhcpv4.DHCPv4, own netip.Prefix) (list []route) {
	accept := func(via netip.Addr) bool {
		return usable(via) && own.Contains(via) && via != own.Addr()
	}
	if classless := ack.ClasslessStaticRoute(); len(classless) > 0 {
		for _, c := range classless {
			if c == nil || c.Dest == nil || len(list) >= maxRoutes {
				continue
			}
			to, ok := prefixOf(c.Dest)
			via, viaOK := v4(c.Router)
			if !ok || !viaOK || !to.Addr().Is4() || to.Addr().IsLoopback() || to.Addr().IsMulticast() {
				continue
			}
			if via.IsUnspecified() && to.Bits() >= 8 {
				list = append(list, route{to: to.Masked()})
			} else if accept(via) {
				list = append(list, route{to.Masked(), via})
			}
		}
		return list
	}
	for _, ip := range ack.Router() {
		if via, ok := v4(ip); ok && accept(via) {
			return []route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), via}}
		}
	}
	return nil
}

func v4(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	a = a.Unmap()
	return a, ok && a.Is4()
}

// usable says whether one machine can have an address.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		!(a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240))
}
