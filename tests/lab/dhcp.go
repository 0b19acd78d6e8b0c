package lab

import (
	"errors"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"phase/qemu"
)

// Gateway is a host that says it leads to everywhere: it grants one address by
// DHCP, with itself as the router and a public name server, and advertises itself
// as a router of IPv6 too. It forwards nothing.
type Gateway struct {
	// Prefix is what is on the link, with the gateway's own address, and Six the
	// same of IPv6.
	Prefix, Six netip.Prefix
	// Boot, set before anybody asks, is the URL of what a network boot loader starts.
	Boot string

	host   *qemu.Host
	port   *qemu.Port
	server *server4.Server
	done   chan struct{}
}

// PublicDNS is the name server that a Gateway names.
var PublicDNS = netip.MustParseAddr("9.9.9.9")

// NewGateway puts a gateway on a segment, which grants the address after its own.
func NewGateway(s *qemu.Segment, prefix netip.Prefix) (*Gateway, error) {
	g := &Gateway{Prefix: prefix, Six: netip.MustParsePrefix("fd07::/64"), done: make(chan struct{})}
	var err error
	if g.host, err = s.NewHost("gateway"); err != nil {
		return nil, err
	}
	if err = g.host.AddAddress(prefix); err == nil {
		var conn net.PacketConn
		if conn, err = g.host.ListenPacket("0.0.0.0:67"); err == nil {
			g.server, err = server4.NewServer("", nil, g.answer, server4.WithConn(conn))
		}
	}
	if err == nil {
		g.port, err = s.Tap("advertiser", func([]byte) {})
	}
	if err != nil {
		return nil, errors.Join(err, g.host.Close())
	}
	go func() {
		defer close(g.done)
		_ = g.server.Serve() // ends with its connection
	}()
	return g, nil
}

// answer grants the one address.
func (g *Gateway) answer(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
	kind := dhcpv4.MessageTypeOffer
	if m.MessageType() == dhcpv4.MessageTypeRequest {
		kind = dhcpv4.MessageTypeAck
	}
	own := g.Prefix.Addr()
	answer, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(own.Next().AsSlice()), dhcpv4.WithServerIP(own.AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own.AsSlice())),
		dhcpv4.WithNetmask(net.CIDRMask(g.Prefix.Bits(), 32)), dhcpv4.WithRouter(own.AsSlice()),
		dhcpv4.WithDNS(PublicDNS.AsSlice()), dhcpv4.WithLeaseTime(3600))
	if err == nil && g.Boot != "" {
		answer.UpdateOption(dhcpv4.OptBootFileName(g.Boot))
	}
	if err == nil {
		_, _ = conn.WriteTo(answer.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}) // asked again when lost
		g.advertise()
	}
}

// advertise sends a router advertisement (RFC 4861 §4.2) for Six, with a public
// name server.
func (g *Gateway) advertise() {
	six, router, all := g.Six.Addr().As16(), g.host.Addr6().As16(), netip.MustParseAddr("ff02::1").As16()
	dns := netip.MustParseAddr("2620:fe::9").As16()
	const lifetime = 0x0708 // half an hour, in seconds
	ra := []byte{134, 0, 0, 0, 64, 0, lifetime >> 8, lifetime & 0xff, 0, 0, 0, 0, 0, 0, 0, 0}
	ra = append(ra, 3, 4, byte(g.Six.Bits()), 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0) // on the link, and to make addresses of
	ra = append(ra, six[:]...)
	ra = append(ra, 25, 3, 0, 0, 0, 0, 0x0e, 0x10) // RFC 8106
	ra = append(ra, dns[:]...)
	const icmp = 58
	pseudo := append(append(append([]byte{}, router[:]...), all[:]...), 0, 0, 0, byte(len(ra)), 0, 0, 0, icmp)
	sum := checksum(append(pseudo, ra...))
	ra[2], ra[3] = byte(sum>>8), byte(sum)
	frame := []byte{0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0xff, 1, 0x86, 0xdd}
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(ra)), icmp, 255)
	g.port.Send(append(append(append(frame, router[:]...), all[:]...), ra...))
}

// checksum is that of the internet (RFC 1071), of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Close takes the gateway off the segment.
func (g *Gateway) Close() {
	_ = g.server.Close()
	<-g.done
	_ = g.port.Close()
	_ = g.host.Close()
}
