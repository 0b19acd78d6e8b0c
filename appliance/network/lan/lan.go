// Package lan lets nodes on one network segment find each other by DNS-SD
// over multicast DNS (RFC 6762, RFC 6763), with no server, no configuration
// and, where need be, nothing but IPv6 link-local addresses. A node announces
// each release it holds as an instance of _phase-image._tcp, and itself as one
// of _phase-peer._udp; what is found is a hint, to be asked over HTTP and verified. Everything heard is kept apart
// by sender, so that a stranger with a node's name hides no one.
package lan

// Service is the DNS-SD type of a provider of releases, with its domain.
const Service = "_phase-image._tcp.local."

// PeerService is the DNS-SD type of a node that takes part in the network of
// nodes, whether or not it holds a release.
const PeerService = "_phase-peer._udp.local."

// Instance is one release line a node holds; Version is its newest good one.
type Instance struct {
	Channel string
	Arch    string
	Version uint64
}
