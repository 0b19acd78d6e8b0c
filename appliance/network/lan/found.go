package lan

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"phase/appliance/machine/link"
	"phase/appliance/release/survey"
)

// found lists the complete announcements. What a node says over IPv4 and over
// IPv6 is the same, and listed once; two that differ in anything stay two.
func (c *cache) found(now time.Time, ifaces map[int]link.Interface) (list []Found) {
	byContent := make(map[string]int)
	for key := range c.sources {
		for _, f := range c.of(key, now, ifaces) {
			content := f.content()
			if at, ok := byContent[content]; ok {
				if f.Source.Is6() && !list[at].Source.Is6() {
					list[at].Source = f.Source
				}
				continue
			}
			byContent[content] = len(list)
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b Found) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.content(), b.content()))
	})
	return list
}

// of lists the complete announcements of one source.
func (c *cache) of(key sourceKey, now time.Time, ifaces map[int]link.Interface) (list []Found) {
	s, heard := c.sources[key]
	iface, up := ifaces[key.index]
	if !heard || !up {
		return nil
	}
	for _, i := range s.instances {
		if !i.pointer.at.After(now) || !i.service.at.After(now) || !i.text.at.After(now) || !i.textUnderstood || i.port == 0 {
			continue
		}
		f := Found{
			Instance: i.label, Host: cleanLabel(strings.TrimSuffix(i.target, ".local.")),
			Channel: i.channel, Arch: i.arch, Version: i.version, Peer: i.peer, Port: i.port,
			Interface: iface.Name, Source: zoned(key.addr, iface),
			Addresses: reachable(s.hosts[i.target], iface),
		}
		if len(f.Addresses) == 0 {
			continue
		}
		for _, a := range f.Addresses {
			f.URLs = append(f.URLs, baseURL(a, f.Port))
		}
		list = append(list, f)
	}
	return list
}

// content is everything a Found says except who sent it.
func (f Found) content() string {
	return fmt.Sprintf("%q %q %q %q %d %q %d %q %v", f.Instance, f.Host, f.Channel, f.Arch, f.Version, f.Peer, f.Port, f.Interface, f.Addresses)
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

// Finder is Browse as package survey asks it.
type Finder BrowseOptions

// Find browses until ctx ends.
func (f Finder) Find(ctx context.Context) (<-chan survey.Announcement, error) {
	found, err := Browse(ctx, BrowseOptions(f))
	if err != nil {
		return nil, err
	}
	out := make(chan survey.Announcement)
	go func() {
		defer close(out)
		for f := range found {
			select {
			case out <- f.announcement():
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

// announcement is f for a survey. The sender's address is part of its key, so
// that a stranger under a node's name replaces no one.
func (f Found) announcement() survey.Announcement {
	return survey.Announcement{
		Key:    fmt.Sprintf("%s %s %s %d", f.Interface, f.Source, f.Instance, f.Port),
		Source: f.Source.String(), Interface: f.Interface, URLs: f.URLs,
		Channel: f.Channel, Arch: f.Arch, Version: f.Version, Name: f.Instance, Peer: f.Peer,
	}
}
