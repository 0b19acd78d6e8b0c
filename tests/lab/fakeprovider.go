package lab

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"phase/qemu"
	"phase/tests/hostile"
)

// FakeProvider is a provider that the test's own process plays from a host on
// the segment: it announces and answers what the test says.
type FakeProvider struct {
	// URL is what a node calls it, over the node's first NIC.
	URL string

	name     string
	host     *qemu.Host
	listener net.Listener
	served   sync.WaitGroup
	speaker  *speaker

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// ProviderPort is where every provider of the lab listens.
const ProviderPort = 8080

// NewFakeProvider puts a provider on the segment. It announces nothing yet.
func NewFakeProvider(s *qemu.Segment, name string, serve hostile.Serve) (*FakeProvider, error) {
	host, err := s.NewHost(name)
	if err != nil {
		return nil, err
	}
	l, err := host.Listen("[::]:8080")
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	p := &FakeProvider{name: name, host: host, conns: map[net.Conn]bool{}}
	p.URL = "http://" + net.JoinHostPort(host.Addr6().String()+"%25eth0", "8080")
	p.listener = &trackingListener{l, p}
	p.served.Go(func() { serve(p.listener) })
	return p, nil
}

// Announcement is what an honest provider in its place would announce.
func (p *FakeProvider) Announcement(channel, arch string, version uint64) Announcement {
	return Announcement{Name: p.name, Channel: channel, Arch: arch, Version: version, Port: ProviderPort, Addresses: []netip.Addr{p.host.Addr6()}}
}

// Announce sends announcements, now and whenever a node asks.
func (p *FakeProvider) Announce(announcements ...Announcement) error {
	var packets [][]byte
	for _, a := range announcements {
		packet, err := a.Packet(120)
		if err != nil {
			return err
		}
		packets = append(packets, packet)
	}
	return p.Speak(packets...)
}

// Speak sends packets to the groups of multicast DNS, now and whenever a
// node asks for providers, valid or not. It is called once.
func (p *FakeProvider) Speak(packets ...[]byte) (err error) {
	p.speaker, err = speak(p.host, packets...)
	return err
}

// Close takes it off the segment, without a goodbye.
func (p *FakeProvider) Close() error {
	if p.speaker != nil {
		p.speaker.close()
	}
	err := p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.served.Wait()
	return errors.Join(err, p.host.Close())
}

// trackingListener remembers connections, so that those still open are closed
// with the provider.
type trackingListener struct {
	net.Listener
	provider *FakeProvider
}

func (l *trackingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.provider.mu.Lock()
	defer l.provider.mu.Unlock()
	l.provider.conns[c] = true
	return &trackedConn{c, l.provider}, nil
}

type trackedConn struct {
	net.Conn
	provider *FakeProvider
}

func (c *trackedConn) Close() error {
	c.provider.mu.Lock()
	delete(c.provider.conns, c.Conn)
	c.provider.mu.Unlock()
	return c.Conn.Close()
}
