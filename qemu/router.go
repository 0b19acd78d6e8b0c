package qemu

import (
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// Router joins two segments by one routed hop: it forwards IPv4 packets between two prefixes, and neither broadcast nor
// multicast, so that what is announced on one segment is not heard on the other.
type Router struct{ legs [2]*Host }

// routerMAC is unlike that of any host, which ends with its number.
var routerMAC = [2]net.HardwareAddr{{0x02, 0, 0, 0, 1, 1}, {0x02, 0, 0, 0, 1, 2}}

// NewRouter plugs a router into two segments. Its address on each, like 10.1.0.1/24, is the gateway of the machines there.
func NewRouter(a *Segment, atA netip.Prefix, b *Segment, atB netip.Prefix) (*Router, error) {
	of := newStack()
	var r Router
	var routes []tcpip.Route
	for i, leg := range []struct {
		segment *Segment
		at      netip.Prefix
	}{{a, atA}, {b, atB}} {
		h, err := leg.segment.attach("router", routerMAC[i], of, tcpip.NICID(i+1))
		if err == nil {
			r.legs[i] = h
			err = h.AddAddress(leg.at)
		}
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("joining two segments: %w", err)
		}
		routes = append(routes, tcpip.Route{Destination: subnet(leg.at.Masked()), NIC: tcpip.NICID(i + 1)})
	}
	of.SetRouteTable(routes)
	if err := of.SetForwardingDefaultAndAllNICs(ipv4.ProtocolNumber, true); err != nil {
		r.Close()
		return nil, fmt.Errorf("joining two segments: %s", err)
	}
	return &r, nil
}

// Close takes the router off both segments.
func (r *Router) Close() {
	for _, h := range r.legs {
		if h != nil {
			h.Close()
		}
	}
}

// Ports are the router's places in the two switches.
func (r *Router) Ports() (a, b *Port) { return r.legs[0].Port(), r.legs[1].Port() }
