package lab

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"phase/qemu"
)

// Puppet is a provider that the test's own process plays from a host on the
// segment: it announces and answers whatever the test likes.
type Puppet struct {
	// URL is what a node calls the puppet, over the node's first NIC.
	URL string

	name     string
	host     *qemu.Host
	listener net.Listener
	served   sync.WaitGroup
	speaker  *speaker

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// Serve answers those who connect, until the listener is closed.
type Serve func(net.Listener)

// HTTP answers as a provider of the handler's making does.
func HTTP(h http.HandlerFunc) Serve {
	return func(l net.Listener) {
		server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
		_ = server.Serve(l) // ends with the listener
	}
}

// Talk hands over each connection, which may be used as one likes until it is
// closed by either side.
func Talk(talk func(net.Conn)) Serve {
	return func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c)
		}
	}
}

// PuppetPort is where every puppet listens.
const PuppetPort = 8080

// NewPuppet puts a provider on the segment. It announces nothing yet.
func NewPuppet(s *qemu.Segment, name string, serve Serve) (*Puppet, error) {
	host, err := s.NewHost(name)
	if err != nil {
		return nil, err
	}
	l, err := host.Listen("[::]:8080")
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	p := &Puppet{name: name, host: host, conns: map[net.Conn]bool{}}
	p.URL = "http://" + net.JoinHostPort(host.Addr6().String()+"%25eth0", "8080")
	p.listener = &keeper{l, p}
	p.served.Go(func() { serve(p.listener) })
	return p, nil
}

// Announcement is what an honest provider in the puppet's place would announce.
func (p *Puppet) Announcement(channel, arch string, version uint64) Announcement {
	return Announcement{Name: p.name, Channel: channel, Arch: arch, Version: version, Port: PuppetPort, Addresses: []netip.Addr{p.host.Addr6()}}
}

// Announce says so to everyone, now and whenever asked.
func (p *Puppet) Announce(announcements ...Announcement) error {
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

// Speak sends packets to the groups of multicast DNS, now and whenever somebody
// asks who is nearby, whatever they hold. It is called once.
func (p *Puppet) Speak(packets ...[]byte) (err error) {
	p.speaker, err = speak(p.host, packets...)
	return err
}

// Close takes the puppet off the segment, without a word.
func (p *Puppet) Close() error {
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

// keeper remembers connections, so that those nobody ends end with the puppet.
type keeper struct {
	net.Listener
	puppet *Puppet
}

func (k *keeper) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k.puppet.mu.Lock()
	defer k.puppet.mu.Unlock()
	k.puppet.conns[c] = true
	return &kept{c, k.puppet}, nil
}

type kept struct {
	net.Conn
	puppet *Puppet
}

func (c *kept) Close() error {
	c.puppet.mu.Lock()
	delete(c.puppet.conns, c.Conn)
	c.puppet.mu.Unlock()
	return c.Conn.Close()
}

// Lifetime ends when whoever is at the other end of a connection hangs up. It
// reads what is still said there.
func Lifetime(c net.Conn) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, c)
	}()
	return ctx
}
