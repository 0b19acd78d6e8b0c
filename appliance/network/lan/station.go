package lan

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"phase/appliance/machine/link"
)

// The groups and port of multicast DNS, RFC 6762 §3.
const mdnsPort = 5353

var (
	group4 = netip.MustParseAddr("224.0.0.251")
	group6 = netip.MustParseAddr("ff02::fb")
)

// maxPacket is the largest message read, RFC 6762 §17.
const maxPacket = 9000

// stationKey is one address family on one interface. Each has its own socket,
// bound to the interface, so that what is said and heard never crosses to
// another segment and needs neither a route nor a bridge.
type stationKey struct {
	index int
	v6    bool
}

type station struct {
	key   stationKey
	iface link.Interface
	conn  *net.UDPConn

	// The announcer's clock for this station.
	announceAt   time.Time // next unasked announcement, zero for none
	announceLeft int       // announcements still to follow
	answerAt     time.Time // a promised answer, zero for none
	sentAt       time.Time // last multicast of our records
	unicasts     int       // one-shot answers in the second beginning at unicastsFrom
	unicastsFrom time.Time

	// The browser's clock for this station.
	askAt    time.Time
	askedAt  time.Time
	askAfter time.Duration
}

type packet struct {
	data []byte
	from netip.AddrPort
	on   *station
}

// openStation joins the group on one interface. The socket is bound to the
// group's address, not to the wildcard: it hears multicast only, so it takes
// no unicast away from another responder on the same machine, and everything
// it hears was sent on this link.
func openStation(iface link.Interface, v6 bool) (*station, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a multicast DNS socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "mdns")
	defer file.Close()
	if err := joinGroup(fd, iface, v6); err != nil {
		return nil, err
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("opening a multicast DNS socket: %w", err)
	}
	return &station{key: stationKey{iface.Index, v6}, iface: iface, conn: conn.(*net.UDPConn)}, nil
}

func joinGroup(fd int, iface link.Interface, v6 bool) error {
	option := func(level, name, value int) func() error {
		return func() error { return unix.SetsockoptInt(fd, level, name, value) }
	}
	level, hops := unix.IPPROTO_IP, unix.IP_MULTICAST_TTL
	var group unix.Sockaddr = &unix.SockaddrInet4{Port: mdnsPort, Addr: group4.As4()}
	join := func() error {
		return unix.SetsockoptIPMreqn(fd, level, unix.IP_ADD_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: group4.As4(), Ifindex: int32(iface.Index)})
	}
	if v6 {
		level, hops = unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS
		group = &unix.SockaddrInet6{Port: mdnsPort, Addr: group6.As16(), ZoneId: uint32(iface.Index)}
		join = func() error {
			return unix.SetsockoptIPv6Mreq(fd, level, unix.IPV6_JOIN_GROUP,
				&unix.IPv6Mreq{Multiaddr: group6.As16(), Interface: uint32(iface.Index)})
		}
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"sharing the port", option(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)},
		{"sharing the port", option(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)},
		// What is sent leaves by this interface then, multicasts too.
		{"binding to the interface", func() error { return unix.BindToDevice(fd, iface.Name) }},
		{"setting the hop limit", option(level, hops, 255)},
		{"binding", func() error { return unix.Bind(fd, group) }},
		{"joining the group", join},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("multicast DNS on %s: %s: %w", iface.Name, step.what, err)
		}
	}
	return nil
}

// group is where the station's multicasts go.
func (s *station) group() netip.AddrPort {
	if s.key.v6 {
		return netip.AddrPortFrom(group6.WithZone(s.iface.Name), mdnsPort)
	}
	return netip.AddrPortFrom(group4, mdnsPort)
}

// send writes one message. An error is not retried here: the next announcement,
// question or change of address is.
func (s *station) send(to netip.AddrPort, m *dns.Msg) {
	data, err := m.Pack()
	if err == nil {
		_, err = s.conn.WriteToUDPAddrPort(data, to)
	}
	if err != nil {
		slog.Debug("a multicast DNS message was not sent", "interface", s.iface.Name, "err", err)
	}
}

// onLink says whether addr, without its zone, is on the station's segment.
func onLink(iface link.Interface, addr netip.Addr) bool {
	addr = addr.WithZone("")
	return slices.ContainsFunc(iface.Addresses, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// segments holds the stations of one announcer or browser and follows the
// machine's interfaces. It belongs to one goroutine.
type segments struct {
	stations map[stationKey]*station
	packets  chan packet
	failed   chan *station // those that cannot be read
	closed   chan struct{}
}

// own says whether addr is one of this machine's, as far as it is spoken on.
func (g *segments) own(addr netip.Addr) bool {
	addr = addr.WithZone("")
	for _, s := range g.stations {
		if slices.ContainsFunc(s.iface.Addresses, func(p netip.Prefix) bool { return p.Addr() == addr }) {
			return true
		}
	}
	return false
}

func newSegments() *segments {
	return &segments{
		stations: make(map[stationKey]*station),
		packets:  make(chan packet, 64),
		failed:   make(chan *station),
		closed:   make(chan struct{}),
	}
}

// follow opens a station wherever an address can be used, closes those whose
// last address is gone, and returns the ones that are new or whose addresses
// changed. Loopback counts only while there is nothing else: then programs on
// one machine still find each other.
func (g *segments) follow(ifaces []link.Interface) (changed []*station) {
	wanted := make(map[stationKey]link.Interface)
	for _, loopback := range []bool{false, true} {
		for _, i := range ifaces {
			if isLoopback(i) != loopback || !i.Up {
				continue
			}
			for _, p := range i.Addresses {
				wanted[stationKey{i.Index, p.Addr().Is6()}] = i
			}
		}
		if len(wanted) > 0 {
			break
		}
	}
	for key, s := range g.stations {
		if i, ok := wanted[key]; !ok || i.Name != s.iface.Name {
			g.drop(s)
		}
	}
	for key, iface := range wanted {
		if s, ok := g.stations[key]; ok {
			if !slices.Equal(s.iface.Addresses, iface.Addresses) {
				s.iface = iface
				changed = append(changed, s)
			}
			continue
		}
		s, err := openStation(iface, key.v6)
		if err != nil {
			slog.Warn("an interface is left out of discovery", "interface", iface.Name, "err", err)
			continue
		}
		g.stations[key] = s
		changed = append(changed, s)
		go g.read(s, isLoopback(iface))
	}
	return changed
}

func isLoopback(i link.Interface) bool {
	return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
}

func (g *segments) read(s *station, loopback bool) {
	buf := make([]byte, maxPacket+1)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case g.failed <- s:
			case <-g.closed:
			}
			return
		}
		if n > maxPacket {
			continue
		}
		source := from.Addr().Unmap()
		if source.IsUnspecified() {
			// The kernel puts no source on IPv4 multicast over loopback, whose
			// address it keeps to the host; from a wire it is no one's.
			if !loopback {
				continue
			}
			source = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		select {
		case g.packets <- packet{slices.Clone(buf[:n]), netip.AddrPortFrom(source, from.Port()), s}:
		case <-g.closed:
			return
		}
	}
}

// drop forgets a station; a later follow may open it anew.
func (g *segments) drop(s *station) {
	s.conn.Close()
	if g.stations[s.key] == s {
		delete(g.stations, s.key)
	}
}

func (g *segments) close() {
	close(g.closed)
	for _, s := range g.stations {
		g.drop(s)
	}
}

// watchInterfaces delivers the interfaces now and after each change, and every
// minute in case a socket could not be opened and nothing else changes.
func watchInterfaces(ctx context.Context) (<-chan []link.Interface, error) {
	changed, err := link.Watch(ctx)
	if err != nil {
		return nil, err
	}
	out := make(chan []link.Interface)
	go func() {
		defer close(out)
		again := time.NewTicker(time.Minute)
		defer again.Stop()
		for {
			list, err := link.Interfaces()
			if err != nil {
				slog.Warn("interfaces cannot be listed", "err", err)
			} else {
				select {
				case out <- list:
				case <-ctx.Done():
					return
				}
			}
			select {
			case _, ok := <-changed:
				if !ok {
					return
				}
			case <-again.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
