package link

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/link/nic"
)

// publish writes the name servers and reports the status where they changed.
func (m *Manager) publish() {
	status, servers := m.status()
	if m.o.Resolv != "" {
		if text := resolvConf(servers); text != m.resolved {
			if err := statefile.Replace(m.o.Resolv, []byte(text), 0o644); err != nil {
				status.Problems = append(status.Problems, fmt.Sprintf("writing the name servers: %v", err))
			} else {
				m.resolved = text
			}
		}
	}
	if !reflect.DeepEqual(m.reported, status) {
		m.reported = status
		m.o.Report(status)
	}
}

func (m *Manager) status() (s statefile.Net, servers []netip.Addr) {
	s = statefile.Net{Interfaces: []statefile.Interface{}, Unused: nic.Unused(), Problems: append([]string{}, m.settings...)}
	for _, c := range s.Unused {
		s.Problems = append(s.Problems, nic.Problem(c))
	}
	if m.trouble != "" {
		s.Problems = append(s.Problems, m.trouble)
	}
	list, err := Interfaces()
	if err != nil {
		s.Problems = append(s.Problems, err.Error())
	}
	byIndex := make(map[int]Interface)
	for _, i := range list {
		byIndex[i.Index] = i
	}
	var names, refused []string
	anyCarrier := false
	for _, index := range slices.Sorted(maps.Keys(m.ports)) {
		p := m.ports[index]
		if p.refused != "" {
			refused = append(refused, p.refused)
		}
		refused = append(refused, p.notes...)
		i, up := byIndex[index]
		if !up {
			i = Interface{Name: p.name, Index: index, MAC: p.own.String()}
		}
		p.mu.Lock()
		s.Interfaces = append(s.Interfaces, p.show(i))
		for _, problem := range []string{p.trouble, p.mtuNote} {
			if problem != "" {
				s.Problems = append(s.Problems, problem)
			}
		}
		for _, a := range m.serversOf(p, i) {
			if !slices.Contains(servers, a) {
				servers = append(servers, a)
			}
		}
		p.mu.Unlock()
		if p.ready {
			names = append(names, p.name)
			anyCarrier = anyCarrier || i.Up
		}
	}
	s.Problems = append(s.Problems, refused...)
	switch {
	case len(m.ports) == 0 && len(s.Unused) == 0:
		s.Problems = append(s.Problems, "there is no wired network interface: plug one in that this kernel has a driver for")
	case len(names) > 0 && !anyCarrier:
		s.Problems = append(s.Problems, fmt.Sprintf("no cable is plugged in, or nothing is at its other end (%s)", strings.Join(names, ", ")))
	}
	return s, servers
}

// show is how the port stands; p.mu is held.
func (p *port) show(i Interface) statefile.Interface {
	shown := statefile.Interface{
		Name: i.Name, MAC: i.MAC, Driver: nic.Driver(i.Name), Up: i.Up, Addresses: []string{},
		MTU: i.MTU, MTUFrom: cmp.Or(p.mtuFrom, "card"), MTU6: nic.MTU6(i.Name), Method: p.method(),
	}
	for _, a := range i.Addresses {
		shown.Addresses = append(shown.Addresses, a.String())
	}
	shown.State, shown.Waiting = p.stands(i.Up)
	if now := shown.State + " " + shown.Waiting; now != p.shown {
		p.shown, p.since = now, time.Now().UTC().Truncate(time.Second)
	}
	shown.Since = p.since
	return shown
}

// stands says how the port stands and what is waited for, as in net.json.
func (p *port) stands(up bool) (state, waiting string) {
	switch {
	case !p.ready:
		return "refused", "for what a problem says"
	case !up:
		return "no-carrier", "for a cable, and something at its other end"
	case p.fixed && p.static && p.m.o.Settings.IP.Address.Addr().Is4(), p.lease != nil:
		return "up", ""
	case p.linkLocal.IsValid():
		return "up", "for a DHCP server"
	}
	return "starting", "for a DHCP server"
}

// method is how the port came by its IPv4 address (or, for a static IPv6
// address, by that), as it stands in net.json.
func (p *port) method() string {
	switch {
	case p.fixed:
		return "static"
	case p.lease != nil:
		return "dhcp"
	case p.linkLocal.IsValid():
		return "link-local"
	}
	return "none"
}

// serversOf are the name servers of one interface, to be used in this mode.
func (m *Manager) serversOf(p *port, i Interface) (list []netip.Addr) {
	if p.fixed {
		list = append(list, m.o.Settings.IP.DNS...)
	}
	if p.lease != nil {
		list = append(list, p.lease.dns...)
	}
	if !time.Now().Before(p.serversUntil) {
		p.servers = nil
	}
	for _, a := range p.servers {
		if a.IsLinkLocalUnicast() {
			a = a.WithZone(p.name)
		}
		list = append(list, a)
	}
	if m.o.onLink() {
		list = slices.DeleteFunc(list, func(s netip.Addr) bool {
			return !slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Contains(s.WithZone("")) })
		})
	}
	return list
}
