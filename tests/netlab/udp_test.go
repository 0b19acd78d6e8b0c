package netlab

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// socket is a UDP socket of a machine.
type socket struct {
	t    *testing.T
	conn *net.UDPConn
}

func (m *Machine) udp(t *testing.T, address string) *socket {
	t.Helper()
	s := &socket{t: t}
	m.Do(t, func() (err error) {
		s.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
		return err
	})
	t.Cleanup(func() { s.conn.Close() })
	return s
}

func (s *socket) send(text string, to netip.AddrPort) {
	s.t.Helper()
	if _, err := s.conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		s.t.Fatal(err)
	}
}

// receive waits for a datagram with the text given and returns its sender.
func (s *socket) receive(text string) netip.AddrPort {
	s.t.Helper()
	from, ok := s.receiveWithin(text, patience)
	if !ok {
		s.t.Fatalf("%s never comes", text)
	}
	return from
}

func (s *socket) receiveWithin(text string, limit time.Duration) (netip.AddrPort, bool) {
	s.t.Helper()
	for begun := time.Now(); ; {
		got, from := s.next(limit - time.Since(begun))
		if got == text || !from.IsValid() {
			return from, from.IsValid()
		}
	}
}

// next is the next datagram and its sender, which is invalid if none comes.
func (s *socket) next(limit time.Duration) (string, netip.AddrPort) {
	s.t.Helper()
	buf := make([]byte, 2048)
	s.conn.SetReadDeadline(time.Now().Add(limit))
	n, from, err := s.conn.ReadFromUDPAddrPort(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", netip.AddrPort{}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(buf[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func addrPort(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }
