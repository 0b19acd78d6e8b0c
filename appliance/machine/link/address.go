package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of our own in the kernel's tables. Each interface has a routing
// table of its own, chosen by the source address: an answer leaves by the
// interface it is asked on even when two interfaces hold the same prefix, as
// all do that have no server.
const (
	routeMetric  = 100  // plus the interface's index
	routeTable   = 1000 // plus the interface's index
	rulePriority = 1000
)

// holding is one IPv4 or IPv6 address an interface has through us.
type holding struct {
	address netip.Prefix
	routes  []route
	valid   time.Duration // 0 is for ever
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// hold puts an address with its routes on an interface, or renews it there.
func hold(index int, h holding) error {
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	addr := &netlink.Addr{IPNet: ipNet(h.address)}
	if h.valid > 0 {
		// Should this program end, the kernel ends the lease.
		addr.ValidLft = int(h.valid / time.Second)
		addr.PreferedLft = addr.ValidLft
	}
	routes := h.routes
	if h.address.Addr().Is4() {
		// The prefix's route is made below, with a metric: the kernel's own
		// would be the same for two interfaces on one prefix.
		addr.Flags = unix.IFA_F_NOPREFIXROUTE
		routes = slices.Insert(slices.Clone(routes), 0, route{to: h.address.Masked()})
		if h.address.Addr().IsLinkLocalUnicast() {
			addr.Scope = unix.RT_SCOPE_LINK
		}
	}
	if err := netlink.AddrReplace(l, addr); err != nil {
		return fmt.Errorf("setting the address %s: %w", h.address, err)
	}
	for _, r := range routes {
		if err := addRoute(index, h.address.Addr(), r); err != nil {
			return err
		}
	}
	return addRule(index, h.address.Addr())
}

func addRoute(index int, own netip.Addr, r route) error {
	kernel := netlink.Route{
		LinkIndex: index, Dst: ipNet(r.to), Src: own.AsSlice(), Protocol: unix.RTPROT_DHCP,
		Priority: routeMetric + index, Scope: unix.RT_SCOPE_LINK,
	}
	if own.IsLinkLocalUnicast() {
		kernel.Priority += routeMetric
	}
	if own.Is6() {
		// The kernel checks a source before it has finished checking the
		// address; it chooses well without.
		kernel.Src, kernel.Scope, kernel.Protocol = nil, unix.RT_SCOPE_UNIVERSE, unix.RTPROT_STATIC
	}
	if r.via.IsValid() {
		kernel.Gw, kernel.Scope = r.via.AsSlice(), unix.RT_SCOPE_UNIVERSE
		if own.Is4() || !r.via.IsLinkLocalUnicast() {
			kernel.Flags = int(netlink.FLAG_ONLINK)
		}
	}
	if err := netlink.RouteReplace(&kernel); err != nil {
		return fmt.Errorf("setting the route to %s: %w", r.to, err)
	}
	if own.Is4() {
		kernel.Table = routeTable + index
		if err := netlink.RouteReplace(&kernel); err != nil && !withoutTables(err) {
			return fmt.Errorf("setting the route to %s for answers: %w", r.to, err)
		}
	}
	return nil
}

// addRule sends what leaves from own to the table of its interface.
func addRule(index int, own netip.Addr) error {
	if own.Is6() {
		return nil
	}
	rule := ruleFor(index, own)
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, syscall.EEXIST) && !withoutTables(err) {
		return fmt.Errorf("setting the route of answers from %s: %w", own, err)
	}
	return nil
}

func ruleFor(index int, own netip.Addr) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family = netlink.FAMILY_V4
	rule.Priority = rulePriority
	rule.Table = routeTable + index
	rule.Src = ipNet(netip.PrefixFrom(own, own.BitLen()))
	return rule
}

// withoutTables says whether a kernel was built with one routing table only;
// then two interfaces on one prefix share the first one's routes.
func withoutTables(err error) bool {
	return errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EINVAL)
}

// release takes an address and what depends on it off an interface; one that
// is gone already is no error, nor is an interface that is.
func release(index int, address netip.Prefix) error {
	if address.Addr().Is4() {
		_ = netlink.RuleDel(ruleFor(index, address.Addr())) // not there on kernels with one table
	}
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	err := netlink.AddrDel(l, &netlink.Addr{IPNet: ipNet(address)})
	if err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("taking away the address %s: %w", address, err)
	}
	return nil
}

// clear takes off what does not survive a change of segment: every IPv4
// address with its rule, and what IPv6 routers announced. Link-local IPv6
// stays; the kernel checks it anew.
func clear(index int) error {
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	addrs, err := listAddrs(l)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		p, ok := prefixOf(a.IPNet)
		if !ok || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := release(index, p); err != nil {
			return err
		}
	}
	routes, err := retryDump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{LinkIndex: index}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_RA {
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("taking away a router's route: %w", err)
		}
	}
	return nil
}
