package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// stayOnLink has a socket send to the machine's own links alone, even where there
// is a default route: who knocks from beyond is not even answered by the kernel.
// It holds for IPv4; for IPv6 there is the gater alone, and on a node in local
// mode no route that leads on.
var stayOnLink = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_DONTROUTE, 1)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("keeping a socket on the links of this machine: %w", err)
	}
	return nil
}}

// listenUDPOnLink makes the sockets of QUIC.
func listenUDPOnLink(network string, at *net.UDPAddr) (net.PacketConn, error) {
	return stayOnLink.ListenPacket(context.Background(), network, at.String())
}

// onLinkTCP is TCP whose listeners stay on link.
type onLinkTCP struct {
	*tcp.TcpTransport
	upgrader transport.Upgrader
}

func (t onLinkTCP) Listen(at multiaddr.Multiaddr) (transport.Listener, error) {
	network, address, err := manet.DialArgs(at)
	if err != nil {
		return nil, err
	}
	listening := stayOnLink
	listening.SetMultipathTCP(false) // which would not pass the socket's option on
	l, err := listening.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	wrapped, err := manet.WrapNetListener(l)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return t.upgrader.UpgradeGatedMaListener(t, t.upgrader.GateMaListener(wrapped)), nil
}
