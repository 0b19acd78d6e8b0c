package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"phase/appliance/machine/link/nic"
	"phase/appliance/machine/settings"
)

// linkLocalGrace is how long a link-local address stays beside a lease that
// came later: what others began to fetch from it may come to its end. RFC
// 3927 §1.9 wants only one in the long run.
const linkLocalGrace = 30 * time.Second

// port is one wired interface while it exists. Its worker runs while there is
// a carrier.
type port struct {
	m     *Manager
	index int
	name  string
	own   hardwareAddr
	log   *slog.Logger

	// Of the manager's goroutine.
	stop   context.CancelFunc // of the running worker, nil for none
	ended  chan struct{}
	static bool // this interface has the static address
	ready  bool // prepared and raised
	fresh  bool // raised since the interfaces were listed

	refused      string       // why it could not be raised
	notes        []string     // lesser problems
	shown        string       // how it stood when that was told last,
	since        time.Time    // and from when on
	servers      []netip.Addr // name servers that a router announced
	serversUntil time.Time

	// Kept from one carrier to the next, by the worker alone.
	lastLease, lastLinkLocal netip.Addr

	mu        sync.Mutex
	lease     *lease     // held now
	linkLocal netip.Addr // held now
	fixed     bool       // the static address is held now
	trouble   string     // why it has no address
	mtuFrom   string     // where its MTU is from
	mtuNote   string     // what is wrong with the one that a server says
}

// start begins to look for addresses on a carrier that has come.
func (p *port) start(ctx context.Context) {
	ctx, p.stop = context.WithCancel(ctx)
	p.ended = make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		for gap := time.Second; ; gap = min(2*gap, 30*time.Second) {
			err := p.work(ctx)
			if ctx.Err() != nil {
				return
			}
			p.set(func() { p.trouble = fmt.Sprintf("%s: %v", p.name, err) })
			p.log.Warn("an interface gets no address", "err", err)
			if !pause(ctx, gap) {
				return
			}
		}
	}(p.ended)
}

// shutdown stops the worker and waits for it. When the whole program ends the
// addresses stay: other programs are still serving their last requests.
func (p *port) shutdown(keep bool) {
	if p.stop == nil {
		return
	}
	p.stop()
	<-p.ended
	p.stop = nil
	p.set(func() { p.lease, p.linkLocal, p.fixed, p.trouble = nil, netip.Addr{}, false, "" })
	if keep {
		return
	}
	if err := clear(p.index); err != nil {
		p.log.Debug("an interface is not cleared", "err", err)
	}
	p.useMTU(0)
}

// set changes what the manager reports and lets it know.
func (p *port) set(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	p.m.poke()
}

func (p *port) work(ctx context.Context) error {
	if err := clear(p.index); err != nil {
		return err
	}
	p.useMTU(0)
	if p.static {
		ip := p.m.o.Settings.IP
		if err := p.holdStatic(ip); err != nil {
			return err
		}
		if ip.Address.Addr().Is4() {
			<-ctx.Done()
			return ctx.Err()
		}
	}
	return p.automatic(ctx)
}

func (p *port) holdStatic(ip settings.IP) error {
	h := holding{address: ip.Address}
	if gateway := ip.Gateway; gateway.IsValid() && !p.m.o.onLink() {
		h.routes = []route{{netip.PrefixFrom(gateway, 0).Masked(), gateway}}
	}
	if err := hold(p.index, h); err != nil {
		return err
	}
	p.log.Info("holds its static address", "address", h.address.String())
	p.set(func() { p.fixed, p.trouble = true, "" })
	if !h.address.Addr().Is4() {
		return nil
	}
	// Neighbours may remember another machine under this address.
	socket, err := openPacket(p.index, unix.ETH_P_ARP, nil)
	if err != nil {
		return err
	}
	defer socket.Close()
	return broadcast(socket, arpAnnouncement(p.own, h.address.Addr()))
}

// automatic asks for a lease and, at the same time, finds out which
// link-local address is free. The first one wins: a server answers long before
// the probes are done, and without one nothing was lost by waiting.
func (p *port) automatic(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	s := &search{port: p, ctx: ctx, fail: fail}
	defer s.workers.Wait()
	defer fail(nil)
	leases := make(chan *lease)
	client := &dhcpClient{
		index: p.index, own: p.own, name: p.m.o.HostName, id: clientID(p.m.o.HostName, p.name), firstGap: p.m.firstGap, minLease: p.m.minLease, log: p.log, last: p.lastLease,
		granted: func(l *lease) {
			select {
			case leases <- l:
			case <-ctx.Done():
			}
		},
	}
	s.start(ctx, "asking for an address by DHCP", client.run)
	s.startLinkLocal()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.grace:
			s.grace = nil
			s.stopLinkLocal()
			s.stopLinkLocal = nil
		case l := <-leases:
			if err := s.take(l); err != nil {
				return err
			}
		}
	}
}

// search is a port's search for an IPv4 address.
type search struct {
	*port
	ctx           context.Context
	fail          context.CancelCauseFunc // ends it all
	workers       sync.WaitGroup
	held          *lease
	stopLinkLocal context.CancelFunc // nil when there is none
	grace         <-chan time.Time   // when it is to be stopped
}

func (s *search) start(ctx context.Context, doing string, work func(context.Context) error) {
	s.workers.Go(func() {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("%s: %w", doing, err))
		}
	})
}

func (s *search) startLinkLocal() {
	ctx, stop := context.WithCancel(s.ctx)
	s.stopLinkLocal = stop
	s.start(ctx, "claiming a link-local address", s.runLinkLocal)
}

// take holds a lease won or renewed; nil is the loss of the one held.
func (s *search) take(l *lease) error {
	if s.held != nil && (l == nil || l.address != s.held.address) {
		if err := release(s.index, s.held.address); err != nil {
			return err
		}
	}
	if l == nil {
		s.held, s.grace = nil, nil
		s.useMTU(0)
		s.set(func() { s.lease = nil })
		if s.stopLinkLocal == nil {
			s.startLinkLocal()
		}
		return nil
	}
	s.useMTU(l.mtu)
	h := holding{address: l.address, valid: l.expire}
	if !s.m.o.onLink() {
		h.routes = l.routes
	}
	if err := hold(s.index, h); err != nil {
		return err
	}
	if s.held == nil || s.held.address != l.address {
		s.log.Info("has an address by DHCP", "address", l.address.String(), "server", l.server.String())
	}
	s.set(func() { s.lease, s.trouble = l, "" })
	s.held, s.lastLease = l, l.address.Addr()
	if s.stopLinkLocal != nil && s.grace == nil {
		grace := time.Duration(0) // for an address that is only being looked for
		s.mu.Lock()
		if s.linkLocal.IsValid() {
			grace = s.m.grace
		}
		s.mu.Unlock()
		s.grace = time.After(grace)
	}
	return nil
}

func (p *port) runLinkLocal(ctx context.Context) error {
	at := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, linkLocalPrefix.Bits()) }
	claim := &linkLocal{
		index: p.index, own: p.own, log: p.log, last: p.lastLinkLocal,
		assign: func(a netip.Addr) error {
			if err := hold(p.index, holding{address: at(a)}); err != nil {
				return err
			}
			p.log.Info("nobody gives addresses here: has a link-local one", "address", a.String())
			p.lastLinkLocal = a
			p.set(func() { p.linkLocal, p.trouble = a, "" })
			return nil
		},
		drop: func(a netip.Addr) {
			if err := release(p.index, at(a)); err != nil {
				p.log.Warn("a link-local address is not taken away", "err", err)
			}
			p.set(func() { p.linkLocal = netip.Addr{} })
		},
	}
	return claim.run(ctx)
}

// prepare makes an interface that is still down ready and raises it.
func (p *port) prepare(attrs *netlink.LinkAttrs) (problems []string, err error) {
	l := &netlink.Device{LinkAttrs: *attrs}
	if p.m.o.anonymous() {
		// The address can only be changed while the interface is down, and the
		// one it was made with must not be seen on the wire.
		if err := netlink.LinkSetDown(l); err != nil {
			return nil, fmt.Errorf("%s: lowering it: %w", p.name, err)
		}
		p.own = randomHardwareAddr()
		if err := netlink.LinkSetHardwareAddr(l, p.own[:]); err != nil {
			return nil, fmt.Errorf("%s stays down: it cannot be given a hardware address that is not its maker's: %w", p.name, err)
		}
	}
	problems, err = nic.Prepare(p.name, p.m.o.Settings)
	if err != nil {
		return problems, err
	}
	if err := netlink.LinkSetUp(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return problems, fmt.Errorf("%s: raising it: %w", p.name, err)
	}
	return problems, nil
}
