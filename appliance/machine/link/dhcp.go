package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// dhcpClient holds a lease on one interface, RFC 2131.
type dhcpClient struct {
	index    int
	own      hardwareAddr
	name     string // host name; empty sends none
	id       []byte // client identifier; empty sends none
	firstGap time.Duration
	minLease time.Duration
	log      *slog.Logger
	// granted is called with each lease won or renewed, and with nil when one is
	// lost.
	granted func(*lease)
	// last is the address held before, asked for again.
	last netip.Addr
}

// firstGap is the wait after the first question for a server, and maxGaps how
// many of it are the longest. RFC 2131 §4.1 doubles up to 64 s; a quarter of
// that finds a server that comes late soon, at the price of one small broadcast.
const (
	firstGap = time.Second
	maxGaps  = 16
)

var broadcastAddr = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// errNak is a server's refusal.
var errNak = errors.New("the DHCP server refuses the address")

// run asks, holds and renews until ctx ends or the interface fails.
func (c *dhcpClient) run(ctx context.Context) error {
	for {
		l, err := c.acquire(ctx)
		if err != nil {
			return err
		}
		for err == nil {
			c.last = l.address.Addr()
			kept := l // granted keeps it, and reads it while l is renewed
			c.granted(&kept)
			var next lease
			if next, err = c.renew(ctx, l); err == nil {
				l = next
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.log.Warn("the DHCP lease is lost", "address", l.address.String(), "err", err)
		c.granted(nil)
	}
}

// acquire asks until a server grants a lease.
func (c *dhcpClient) acquire(ctx context.Context) (lease, error) {
	socket, err := openPacket(c.index, unix.ETH_P_IP, dhcpFilter)
	if err != nil {
		return lease{}, err
	}
	defer socket.Close()
	began := time.Now()
	gap := c.firstGap
	for {
		discover, err := c.message(dhcpv4.MessageTypeDiscover)
		if err != nil {
			return lease{}, err
		}
		if c.last.IsValid() {
			discover.UpdateOption(dhcpv4.OptRequestedIPAddress(c.last.AsSlice()))
		}
		discover.NumSeconds = uint16(min(time.Since(began)/time.Second, 65535))
		// RFC 2131 §4.1: each wait varies by up to a second, so that
		// machines switched on together do not stay in step.
		wait := gap + rand.N(gap/4)
		ends := time.Now().Add(wait)
		offer, err := c.exchange(ctx, socket, discover, netip.IPv4Unspecified(), broadcastAddr, wait, dhcpv4.MessageTypeOffer)
		if err == nil {
			var l lease
			if l, err = c.accept(ctx, socket, discover.TransactionID, offer); err == nil {
				return l, nil
			}
			// A server that offers and then refuses is asked no faster than
			// one that is silent.
			if !pause(ctx, time.Until(ends)) {
				return lease{}, ctx.Err()
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errNak) {
			return lease{}, err
		}
		gap = min(2*gap, maxGaps*c.firstGap)
	}
}

// accept asks for what a server offered in the transaction id.
func (c *dhcpClient) accept(ctx context.Context, socket *packet.Conn, id dhcpv4.TransactionID, offer lease) (lease, error) {
	request, err := c.message(dhcpv4.MessageTypeRequest)
	if err != nil {
		return lease{}, err
	}
	request.TransactionID = id
	request.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.address.Addr().AsSlice()))
	request.UpdateOption(dhcpv4.OptServerIdentifier(offer.server.AsSlice()))
	for wait := time.Second; ; wait *= 2 {
		l, err := c.exchange(ctx, socket, request, netip.IPv4Unspecified(), broadcastAddr, wait, dhcpv4.MessageTypeAck)
		if !errors.Is(err, os.ErrDeadlineExceeded) || wait >= 4*time.Second {
			return l, err
		}
	}
}

// renew waits until the lease wants renewing, asks its server, later any
// server, and returns the renewed lease; an error is the lease's end.
func (c *dhcpClient) renew(ctx context.Context, l lease) (lease, error) {
	if !pause(ctx, time.Until(l.granted.Add(l.renew))) {
		return lease{}, ctx.Err()
	}
	socket, err := openPacket(c.index, unix.ETH_P_IP, dhcpFilter)
	if err != nil {
		return lease{}, err
	}
	defer socket.Close()
	for {
		remaining, to := time.Until(l.granted.Add(l.rebind)), l.server
		if remaining <= 0 {
			remaining, to = time.Until(l.granted.Add(l.expire)), broadcastAddr
		}
		if remaining <= 0 {
			return lease{}, errors.New("it ran out and no server renewed it")
		}
		request, err := c.message(dhcpv4.MessageTypeRequest)
		if err != nil {
			return lease{}, err
		}
		request.ClientIPAddr = l.address.Addr().AsSlice()
		// RFC 2131 §4.4.5: wait half of what remains, but a minute at least.
		wait := min(remaining, max(remaining/2, c.minLease))
		next, err := c.exchange(ctx, socket, request, l.address.Addr(), to, wait, dhcpv4.MessageTypeAck)
		// A wire that fails for a moment does not end the lease.
		if err == nil || errors.Is(err, errNak) || ctx.Err() != nil {
			return next, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !pause(ctx, wait) {
			return lease{}, ctx.Err()
		}
	}
}

// clientID is by what a server knows an interface again: the node's name, so
// that a card put in for another has its address, and, but for the first
// interface, its own name: two on one segment are not to be given one address.
// The type 0 says that it is no hardware address, RFC 2132 §9.14.
func clientID(name, iface string) []byte {
	switch {
	case name == "":
		return nil
	case iface != "eth0":
		name += "-" + iface
	}
	return append([]byte{0}, name...)
}

func (c *dhcpClient) message(kind dhcpv4.MessageType) (*dhcpv4.DHCPv4, error) {
	modifiers := []dhcpv4.Modifier{
		dhcpv4.WithHwAddr(c.own[:]),
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionInterfaceMTU,
			dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue),
		dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500)),
	}
	if c.name != "" {
		modifiers = append(modifiers, dhcpv4.WithOption(dhcpv4.OptHostName(c.name)))
	}
	if len(c.id) > 0 {
		modifiers = append(modifiers, dhcpv4.WithOption(dhcpv4.OptClientIdentifier(c.id)))
	}
	m, err := dhcpv4.New(modifiers...)
	if err != nil {
		return nil, fmt.Errorf("making a DHCP message: %w", err)
	}
	return m, nil
}

// exchange sends a message and waits for the lease in the answer to it of one
// kind, errNak or os.ErrDeadlineExceeded.
func (c *dhcpClient) exchange(ctx context.Context, socket *packet.Conn, m *dhcpv4.DHCPv4, from, to netip.Addr, wait time.Duration, kind dhcpv4.MessageType) (l lease, err error) {
	if err := socket.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return l, fmt.Errorf("waiting for a DHCP server: %w", err)
	}
	// After the deadline is set, so that the end of ctx shortens it.
	defer context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Unix(1, 0)) })()
	out := nclient4.NewBroadcastUDPConn(socket, &net.UDPAddr{IP: from.AsSlice(), Port: dhcpv4.ClientPort})
	if _, err := out.WriteTo(m.ToBytes(), &net.UDPAddr{IP: to.AsSlice(), Port: dhcpv4.ServerPort}); err != nil {
		return l, fmt.Errorf("asking a DHCP server: %w", err)
	}
	in := nclient4.NewBroadcastUDPConn(socket, &net.UDPAddr{Port: dhcpv4.ClientPort})
	buf := make([]byte, maxFrame)
	for {
		n, _, err := in.ReadFrom(buf)
		if ctx.Err() != nil {
			return l, ctx.Err()
		}
		if err != nil && !errors.Is(err, io.EOF) { // an empty frame reads as one
			return l, fmt.Errorf("waiting for a DHCP server: %w", err)
		}
		answer, err := parseAnswer(buf[:n])
		if err != nil || answer.TransactionID != m.TransactionID || !bytes.Equal(answer.ClientHWAddr, c.own[:]) {
			continue
		}
		// A refusal counts only from the server that was asked.
		if answer.MessageType() == dhcpv4.MessageTypeNak && kind == dhcpv4.MessageTypeAck {
			asked := m.ServerIdentifier()
			if asked == nil || asked.Equal(answer.ServerIdentifier()) {
				return l, errNak
			}
			continue
		}
		if answer.MessageType() != kind {
			continue
		}
		if l, err = leaseOf(answer, time.Now(), c.minLease); err == nil {
			return l, nil
		}
		c.log.Warn("a DHCP answer is not accepted", "err", err)
	}
}

// parseAnswer reads a server's message, at most maxFrame long.
func parseAnswer(payload []byte) (*dhcpv4.DHCPv4, error) {
	m, err := dhcpv4.FromBytes(payload)
	if err != nil {
		return nil, fmt.Errorf("reading a DHCP message: %w", err)
	}
	if m.OpCode != dhcpv4.OpcodeBootReply {
		return nil, errors.New("reading a DHCP message: it is no server's")
	}
	return m, nil
}

// pause waits and says whether the whole time passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
