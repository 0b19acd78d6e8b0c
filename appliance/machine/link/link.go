// Package link connects a node to its wired networks and keeps it connected.
// Every wired interface is raised, gets an address by DHCP or, when no server
// answers, claims one of 169.254/16 for itself (RFC 3927), or holds the static
// address its owner gave. IPv6 is left to the kernel, configured by a table of
// settings. Carriers come and go, servers appear late, interfaces are plugged
// in: each is an event, none an error. The package also lists the interfaces
// that can be used right now, which discovery on the LAN needs.
package link

import (
	"net/netip"

	"phase/appliance/machine/link/nic"
)

// Method says how an interface came by its IPv4 address (or, for a static
// IPv6 address, by that).
type Method string

// The methods, as they stand in net.json.
const (
	DHCP      Method = "dhcp"
	LinkLocal Method = "link-local"
	Fixed     Method = "static"
	None      Method = "none"
)

// Static is an address given by the owner instead of asked from the network.
type Static struct {
	Address netip.Prefix // the address with its prefix length, v4 or v6
	Gateway netip.Addr   // zero for none
	DNS     []netip.Addr
}

// Options say how the node behaves on its networks.
type Options struct {
	// Static is given to one interface (see Manager); nil asks the network.
	Static *Static
	// OnLink keeps traffic to the on-link prefixes: no default or other
	// gateway route is installed, and name servers elsewhere are ignored.
	OnLink bool
	// Anonymous gives every interface a new random MAC address before it is
	// raised, from which all other addresses follow, and tells DHCP no name.
	Anonymous bool
	// HostName is sent to DHCP servers as host name and client identifier;
	// empty sends neither.
	HostName string
	// Resolv is the path at which the name servers are written in the form of
	// resolv.conf(5); empty writes nothing.
	Resolv string
	// Report is called with the new status after each change, never by two
	// goroutines at once; nil is no report.
	Report func(Status)
}

func (o Options) nic() nic.Options {
	return nic.Options{OnLink: o.OnLink, Static6: o.Static != nil && o.Static.Address.Addr().Is6()}
}

// Status is what the manager knows of its interfaces.
type Status struct {
	Interfaces []Interface
	// Problems are sentences for people, one for each thing that is not as it
	// should be.
	Problems []string
}

// Interface is one network interface as it stands now.
type Interface struct {
	Name      string
	Index     int
	MAC       string         // as 02:00:00:00:00:01
	Up        bool           // raised and with a carrier
	Addresses []netip.Prefix // those in use: tentative and failed ones are left out
	Method    Method
}
