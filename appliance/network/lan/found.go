package lan

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"phase/appliance/machine/link"
	"phase/appliance/release/survey"
)

// found lists the complete announcements. What a node says over IPv4 and over
// IPv6 is the same, and listed once; two that differ in anything stay two.
func (c *cache) found(now time.Time, ifaces map[int]link.Interface) (list []survey.Announcement) {
	byContent := make(map[string]int)
	for key := range c.sources {
		for _, a := range c.of(key, now, ifaces) {
			if at, ok := byContent[content(a)]; !ok {
				byContent[content(a)] = len(list)
				list = append(list, a)
			} else if key.addr.Is6() {
				list[at] = a
			}
		}
	}
	slices.SortFunc(list, func(a, b survey.Announcement) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), cmp.Compare(a.Name, b.Name), cmp.Compare(content(a), content(b)))
	})
	return list
}

// of lists the complete announcements of one source. The sender's address is
// part of their keys, so that a stranger under a node's name replaces no one.
// The bases to ask are http://[fe80::1%25eth0]:8080 or http://192.0.2.1:8080.
func (c *cache) of(key sourceKey, now time.Time, ifaces map[int]link.Interface) (list []survey.Announcement) {
	s, heard := c.sources[key]
	iface, up := ifaces[key.index]
	if !heard || !up {
		return nil
	}
	from := zoned(key.addr, iface).String()
	for _, i := range s.instances {
		if !i.pointer.at.After(now) || !i.service.at.After(now) || !i.text.at.After(now) || !i.textUnderstood || i.port == 0 {
			continue
		}
		a := survey.Announcement{
			Key:    fmt.Sprintf("%s %s %s %d", iface.Name, from, i.label, i.port),
			Source: from, Interface: iface.Name,
			Channel: i.channel, Arch: i.arch, Version: i.version, Name: i.label, Peer: i.peer,
		}
		for _, addr := range reachable(s.hosts[i.target], iface) {
			if c.service == PeerService {
				a.URLs = append(a.URLs, netip.AddrPortFrom(addr, i.port).String())
			} else {
				a.URLs = append(a.URLs, baseURL(addr, i.port))
			}
		}
		if len(a.URLs) > 0 {
			list = append(list, a)
		}
	}
	return list
}

// content is everything an announcement says except who sent it.
func content(a survey.Announcement) string {
	return fmt.Sprintf("%q %q %q %d %q %q %q", a.Name, a.Channel, a.Arch, a.Version, a.Peer, a.Interface, a.URLs)
}

// reachable are the on-link addresses of a host, IPv6 link-local first: that
// one works whatever else is configured. Others are not asked: what is nearby
// is on this segment, and a stranger must not send the node elsewhere.
func reachable(addrs map[netip.Addr]expiry, iface link.Interface) (list []netip.Addr) {
	for a := range addrs {
		if onLink(iface, a) && !a.IsMulticast() && !a.IsUnspecified() {
			list = append(list, zoned(a, iface))
		}
	}
	rank := func(a netip.Addr) int {
		switch {
		case a.Is6() && a.IsLinkLocalUnicast():
			return 0
		case a.Is6():
			return 1
		case !a.IsLinkLocalUnicast():
			return 2
		default:
			return 3
		}
	}
	slices.SortFunc(list, func(a, b netip.Addr) int { return cmp.Or(rank(a)-rank(b), a.Compare(b)) })
	return list
}

func zoned(a netip.Addr, iface link.Interface) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return a.WithZone(iface.Name)
	}
	return a
}

// baseURL writes an address as RFC 6874 wants it, the zone's "%" escaped.
func baseURL(a netip.Addr, port uint16) string {
	return (&url.URL{Scheme: "http", Host: netip.AddrPortFrom(a, port).String()}).String()
}
