package link

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// packetSocket speaks one Ethernet protocol on one interface, below IP: ARP,
// and DHCP before there is an address. Reads and writes carry the payload of
// a frame; reads end with os.ErrClosed when the socket is closed.
type packetSocket struct {
	file     *os.File
	index    int
	protocol uint16
	release  func() bool // called when the socket is closed
}

// maxFrame is more than the payload of any frame of the protocols spoken here
// on links of any sensible MTU.
const maxFrame = 9216

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 } // both architectures are little-endian

func openPacket(index int, protocol uint16, filter []unix.SockFilter) (*packetSocket, error) {
	// The protocol is given at bind, not here, so that no frame arrives before
	// the filter is in place.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket: %w", err)
	}
	if len(filter) > 0 {
		program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("filtering a packet socket: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("binding a packet socket to interface %d: %w", index, err)
	}
	return &packetSocket{file: os.NewFile(uintptr(fd), "packet"), index: index, protocol: protocol}, nil
}

func (s *packetSocket) Close() error {
	if s.release != nil {
		s.release()
	}
	return s.file.Close()
}

func (s *packetSocket) setReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

func (s *packetSocket) read(buf []byte) (int, error) { return s.file.Read(buf) }

// broadcast sends payload to every station of the segment.
func (s *packetSocket) broadcast(payload []byte) error {
	to := &unix.SockaddrLinklayer{Protocol: networkOrder(s.protocol), Ifindex: s.index, Halen: 6,
		Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	raw, err := s.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("sending a frame: %w", err)
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendto(int(fd), payload, 0, to)
		return sent != unix.EAGAIN
	})
	if err == nil {
		err = sent
	}
	if err != nil {
		return fmt.Errorf("sending a frame: %w", err)
	}
	return nil
}

// hardwareAddr is an Ethernet address that can be compared.
type hardwareAddr [6]byte

func (h hardwareAddr) String() string { return net.HardwareAddr(h[:]).String() }
