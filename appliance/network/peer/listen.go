package peer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/multiformats/go-multiaddr"
)

func (n *Node) listens() bool { return len(n.config.Listen) > 0 || n.config.Bind.IsValid() }

// listen opens the addresses; the error names the first that cannot be had.
func (n *Node) listen() error {
	for _, text := range n.config.Listen {
		if err := CheckListen(text); err != nil {
			return err
		}
		err := n.swarm.Listen(multiaddr.StringCast(text))
		// The library passes on the text of the error alone.
		if err != nil && strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			return fmt.Errorf("listening on %s: another program listens there; stop it, or name other addresses (--listen, network.listen)", text)
		}
		if err != nil {
			return fmt.Errorf("listening on %s: %w; name others (--listen, network.listen)", text, shorten(err))
		}
	}
	if len(n.config.Listen) > 0 || !n.config.Bind.IsValid() {
		return nil
	}
	port := uint16(DefaultPort)
	if taken(netip.AddrPortFrom(n.config.Bind, port)) {
		n.event("listening elsewhere", "reason", fmt.Sprintf("port %d is taken", port))
		port = 0
	}
	return n.listenAt(port)
}

// taken says whether another program has a port. The library cannot be asked:
// its TCP sockets share a port with those of others (SO_REUSEPORT), which hole
// punching needs, and two nodes would each get half of the connections.
func taken(at netip.AddrPort) bool {
	t, err := net.Listen("tcp", at.String())
	if err == nil {
		t.Close()
		var u net.PacketConn
		if u, err = net.ListenPacket("udp", at.String()); err == nil {
			u.Close()
		}
	}
	return errors.Is(err, syscall.EADDRINUSE)
}

// CheckListen refuses what is no multiaddr of QUIC or TCP.
func CheckListen(text string) error {
	a, err := multiaddr.NewMultiaddr(text)
	if err == nil && (len(a) < 2 || !canListen(a)) {
		err = errors.New("it is neither of QUIC nor of TCP")
	}
	if err != nil {
		return fmt.Errorf("%.200q is no address to listen on, like /ip4/0.0.0.0/udp/%d/quic-v1: %w", text, DefaultPort, err)
	}
	return nil
}

// canListen says whether an address is an IP address and a port of TCP, or of UDP
// for QUIC.
func canListen(a multiaddr.Multiaddr) bool {
	if code := a[0].Code(); code != multiaddr.P_IP4 && code != multiaddr.P_IP6 {
		return false
	}
	return len(a) == 2 && a[1].Code() == multiaddr.P_TCP ||
		len(a) == 3 && a[1].Code() == multiaddr.P_UDP && a[2].Code() == multiaddr.P_QUIC_V1
}

// listenAt listens at Bind by all transports, on one port. An address family
// that this kernel does not have is left out; it is an error when nothing is left.
func (n *Node) listenAt(port uint16) error {
	hosts := []netip.Addr{n.config.Bind}
	if n.config.Bind == netip.IPv6Unspecified() {
		hosts = append(hosts, netip.IPv4Unspecified())
	}
	var failed []error
	open := 0
	for _, host := range hosts {
		for _, form := range []string{"/%s/%s/udp/%d/quic-v1", "/%s/%s/tcp/%d"} {
			family := "ip4"
			if host.Is6() {
				family = "ip6"
			}
			text := fmt.Sprintf(form, family, host, port)
			if err := n.swarm.Listen(multiaddr.StringCast(text)); err != nil {
				failed = append(failed, fmt.Errorf("listening on %s: %w", text, shorten(err)))
				continue
			}
			open++
			port = max(port, n.Port()) // by TCP as by UDP, in both families
		}
	}
	if open == 0 {
		return errors.Join(failed...)
	}
	return nil
}

// Port is where the node listens for peers, by UDP or, without that, by TCP;
// 0 when it does not listen.
func (n *Node) Port() uint16 {
	for _, protocol := range []int{multiaddr.P_UDP, multiaddr.P_TCP} {
		for _, a := range n.swarm.ListenAddresses() {
			if text, err := a.ValueForProtocol(protocol); err == nil {
				if port, err := strconv.ParseUint(text, 10, 16); err == nil {
					return uint16(port)
				}
			}
		}
	}
	return 0
}
