// Package lan lets nodes on one network segment find each other by DNS-SD
// over multicast DNS (RFC 6762, RFC 6763), with no server, no configuration
// and, where need be, nothing but IPv6 link-local addresses. A node announces
// each release it holds as an instance of _phase-image._tcp; what is found is
// a hint, to be asked over HTTP and verified. Everything heard is kept apart
// by sender, so that a stranger with a node's name hides no one.
package lan

import (
	"net/netip"
)

// Service is the DNS-SD type of a provider of releases, with its domain.
const Service = "_phase-image._tcp.local."

// Instance is one release line a node holds; Version is its newest good one.
type Instance struct {
	Channel string
	Arch    string
	Version uint64
}

// Found is one announcement of one release line by one node on one interface.
type Found struct {
	Instance string // the DNS-SD instance label, "phase-1a2b3c4d"; cleaned of control characters, but a stranger's words
	Host     string // the host it points to, without ".local."
	Channel  string
	Arch     string
	Version  uint64
	Peer     string // the peer id it claims; proves nothing
	Port     uint16

	Interface string       // the interface of this machine it was heard on
	Source    netip.Addr   // who sent it, with the zone when link-local
	Addresses []netip.Addr // on-link addresses of the host, link-local IPv6 with its zone first
	// URLs are the bases to ask over HTTP, in the order to try them, as
	// http://[fe80::1%25eth0]:8080 or http://192.0.2.1:8080.
	URLs []string
}
