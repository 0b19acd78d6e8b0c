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

	"phase/appliance/base/statefile"
	"phase/appliance/machine/settings"
)

// Options say how the node behaves on its networks.
type Options struct {
	// Settings are the owner's: the mode and a static address, which is given to
	// one interface (see Manager). Mode local keeps traffic to the on-link
	// prefixes: no default or other gateway route is installed, and name servers
	// elsewhere are ignored. Mode private gives every interface a new random MAC
	// address before it is raised, from which all other addresses follow, and
	// tells DHCP no name.
	Settings settings.Options
	// HostName is sent to DHCP servers as host name and client identifier;
	// empty sends neither.
	HostName string
	// Resolv is the path at which the name servers are written in the form of
	// resolv.conf(5); empty writes nothing.
	Resolv string
	// Rescan, if there is one, is called now and then while no interface has a
	// carrier: it has the kernel look for new cards.
	Rescan func() error
	// Report is called with the new state after each change, never by two
	// goroutines at once.
	Report func(statefile.Net)
}

func (o Options) onLink() bool    { return o.Settings.Mode == settings.Local }
func (o Options) anonymous() bool { return o.Settings.Mode == settings.Private }

// Interface is one network interface as it stands now.
type Interface struct {
	Name      string
	Index     int
	MAC       string // as 02:00:00:00:00:01
	Up        bool   // raised and with a carrier
	MTU       int
	Addresses []netip.Prefix // those in use: tentative and failed ones are left out
}
