package qemu

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	hostNIC = tcpip.NICID(1)
	hostMTU = 1500
)

// Host is a host on a segment that lives in this process, with a user-space TCP/IP stack: what a test or the demo
// dials from, and what plays a hostile provider, a DHCP server or a second mDNS responder. It has one IPv6 and one
// IPv4 link-local address and treats every address as on the link.
type Host struct {
	port  *Port
	stack *stack.Stack
	nic   tcpip.NICID
	link  *channel.Endpoint
	six   netip.Addr
}

// NewHost plugs a further host into the segment. Its IPv4 address is 169.254.0.N: RFC 3927 §2.1 reserves that range, nodes
// never choose from it, so it needs no probe. At most 254 hosts fit on a segment.
func (s *Segment) NewHost(name string) (*Host, error) {
	s.mu.Lock()
	s.hosts++
	n := s.hosts
	s.mu.Unlock()
	if n > 254 {
		return nil, fmt.Errorf("adding host %s: a segment holds 254 hosts", name)
	}
	mac := net.HardwareAddr{0x02, 0, 0, 0, 0, byte(n)}
	h, err := s.attach(name, mac, newStack(), hostNIC)
	if err != nil {
		return nil, err
	}
	h.stack.SetRouteTable([]tcpip.Route{
		{Destination: subnet(netip.MustParsePrefix("0.0.0.0/0")), NIC: hostNIC},
		{Destination: subnet(netip.MustParsePrefix("::/0")), NIC: hostNIC},
	})
	for _, p := range []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, 0, byte(n)}), 16), netip.PrefixFrom(h.six, 64)} {
		if err := h.AddAddress(p); err != nil {
			h.Close()
			return nil, err
		}
	}
	return h, nil
}

func newStack() *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	sack := tcpip.TCPSACKEnabled(true)
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	return s
}

// attach gives a stack a NIC on the segment. The stack is closed with its first port.
func (s *Segment) attach(name string, mac net.HardwareAddr, of *stack.Stack, nic tcpip.NICID) (*Host, error) {
	h := &Host{six: EUI64(mac), stack: of, nic: nic, link: channel.New(portQueue, hostMTU+14, tcpip.LinkAddress(mac))}
	if err := of.CreateNIC(nic, ethernet.New(h.link)); err != nil {
		return nil, fmt.Errorf("adding host %s: making its NIC: %s", name, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	unplugged := func() {
		stop()
		of.Close()
	}
	port, err := s.plug(name, mac, h.receive, unplugged)
	if err != nil {
		unplugged()
		return nil, err
	}
	h.port = port
	go h.send(ctx)
	return h, nil
}

// send carries what the stack sends to the switch.
func (h *Host) send(ctx context.Context) {
	for {
		pkt := h.link.ReadContext(ctx)
		if pkt == nil {
			return
		}
		v := pkt.ToView()
		frame := append([]byte(nil), v.AsSlice()...)
		v.Release()
		pkt.DecRef()
		h.port.segment.forward(h.port, frame)
	}
}

// receive hands the stack what comes from the switch.
func (h *Host) receive(frames [][]byte) error {
	for _, f := range frames {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f)})
		h.link.InjectInbound(0, pkt)
		pkt.DecRef()
	}
	return nil
}

// Close takes the host off the segment; its connections end without a closing packet.
func (h *Host) Close() error { return h.port.Close() }

// Port is the host's place in the switch.
func (h *Host) Port() *Port { return h.port }

// Addr6 is the host's IPv6 link-local address, without a zone.
func (h *Host) Addr6() netip.Addr { return h.six }

// AddAddress gives the host a further address.
func (h *Host) AddAddress(p netip.Prefix) error {
	a := tcpip.ProtocolAddress{Protocol: protocol(p.Addr()), AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()}}
	if err := h.stack.AddProtocolAddress(h.nic, a, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("adding address %s: %s", p, err)
	}
	return nil
}

// Know tells the host which card an address is at, so that it need not ask: who asks in
// vain asks again a second later, and whatever is timed from here would be rounded up to that.
func (h *Host) Know(a netip.Addr, card net.HardwareAddr) error {
	if err := h.stack.AddStaticNeighbor(h.nic, protocol(a), address(a), tcpip.LinkAddress(card)); err != nil {
		return fmt.Errorf("noting that %s is at %s: %s", a, card, err)
	}
	return nil
}

// Dial connects over the segment. network is tcp or udp (tcp4, tcp6, udp4 and udp6 mean the same: the address
// decides), addr is address:port; names are not resolved and a zone is ignored.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	full, proto, err := endpoint(addr)
	var c net.Conn
	if err == nil {
		switch network {
		case "tcp", "tcp4", "tcp6":
			c, err = gonet.DialContextTCP(ctx, h.stack, full, proto)
		case "udp", "udp4", "udp6":
			c, err = gonet.DialUDP(h.stack, nil, &full, proto)
		default:
			err = fmt.Errorf("network %q is not known; use tcp or udp", network)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("dialling %s on the segment: %w", addr, err)
	}
	return c, nil
}

// HTTPClient makes a client that reaches the segment and nothing else. It keeps no connection open between requests: a
// machine that was switched off in between would leave a dead one.
func (h *Host) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}}
}

// Listen takes TCP connections from the segment. addr is address:port; "[::]:80" listens on IPv6 and
// IPv4, "0.0.0.0:80" on IPv4 alone.
func (h *Host) Listen(addr string) (net.Listener, error) {
	full, proto, err := endpoint(addr)
	var l *gonet.TCPListener
	if err == nil {
		l, err = gonet.ListenTCP(h.stack, full, proto)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s on the segment: %w", addr, err)
	}
	return l, nil
}

// ListenPacket opens a UDP socket on the segment. When addr is a multicast group ("224.0.0.251:5353",
// "[ff02::fb]:5353") the socket joins it, shares the port with others, and sends to groups with a TTL of 255 as mDNS
// asks (RFC 6762 §11).
func (h *Host) ListenPacket(addr string) (net.PacketConn, error) {
	full, proto, err := endpoint(addr)
	if err != nil {
		return nil, fmt.Errorf("listening on %s on the segment: %w", addr, err)
	}
	var wq waiter.Queue
	ep, terr := h.stack.NewEndpoint(udp.ProtocolNumber, proto, &wq)
	if terr != nil {
		return nil, fmt.Errorf("listening on %s on the segment: making a socket: %s", addr, terr)
	}
	ep.SocketOptions().SetBroadcast(true)
	if ap := netip.MustParseAddrPort(addr); ap.Addr().IsMulticast() {
		ep.SocketOptions().SetReuseAddress(true)
		ep.SocketOptions().SetReusePort(true)
		// Linux delivers what is for the socket's own address too only when it is bound to none.
		group := full.Addr
		full.Addr = tcpip.Address{}
		if terr = ep.SetSockOpt(&tcpip.AddMembershipOption{NIC: hostNIC, MulticastAddr: group}); terr == nil {
			terr = ep.SetSockOpt(&tcpip.MulticastInterfaceOption{NIC: hostNIC})
		}
		if terr == nil {
			terr = ep.SetSockOptInt(tcpip.MulticastTTLOption, 255)
		}
	}
	if terr == nil {
		terr = ep.Bind(full)
	}
	if terr != nil {
		ep.Close()
		return nil, fmt.Errorf("listening on %s on the segment: %s", addr, terr)
	}
	return gonet.NewUDPConn(&wq, ep), nil
}

// Dial connects from the observer; see Host.Dial.
func (s *Segment) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.observer.Dial(ctx, network, addr)
}

// HTTPClient makes a client on the observer; see Host.HTTPClient.
func (s *Segment) HTTPClient() *http.Client { return s.observer.HTTPClient() }

// EUI64 is the IPv6 link-local address Linux gives a card with this MAC (RFC 4291, appendix A).
func EUI64(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}

func endpoint(addr string) (tcpip.FullAddress, tcpip.NetworkProtocolNumber, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return tcpip.FullAddress{}, 0, fmt.Errorf("%w; names are not resolved here", err)
	}
	full := tcpip.FullAddress{NIC: hostNIC, Port: ap.Port()}
	if !ap.Addr().IsUnspecified() {
		full.Addr = address(ap.Addr())
	}
	return full, protocol(ap.Addr()), nil
}

func protocol(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func subnet(p netip.Prefix) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()}.Subnet()
}
