package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

// Manager holds the wired interfaces of a network namespace. Make it with
// NewManager.
//
// A static address is given to one interface, the first in the kernel's order
// that has a carrier; it moves on only when that carrier is lost and another
// interface has one. The other address family, and the other interfaces, go
// on asking the network.
type Manager struct {
	o        Options
	log      *slog.Logger
	minLease time.Duration
	grace    time.Duration

	ports    map[int]*port
	refused  map[int]string   // interfaces that could not be raised, and why
	notes    map[int][]string // lesser problems
	poked    chan struct{}
	routers  chan announcedServers
	servers  map[int]serversUntil // from routers, by interface
	resolved string               // what stands in Resolv
	reported *Status
	trouble  string // about the whole machine
}

type serversUntil struct {
	servers []netip.Addr
	until   time.Time
}

// NewManager returns a manager that has done nothing yet.
func NewManager(o Options) *Manager {
	log := o.Log
	if log == nil {
		log = slog.Default()
	}
	return &Manager{
		o: o, log: log, minLease: minLease, grace: linkLocalGrace,
		ports: make(map[int]*port), refused: make(map[int]string), notes: make(map[int][]string),
		poked: make(chan struct{}, 1), routers: make(chan announcedServers, 16),
		servers: make(map[int]serversUntil),
	}
}

// Run brings the interfaces up and keeps them so until ctx ends, which is
// its only good end (nil). Addresses stay on the interfaces afterwards, so
// that other programs can finish what they are serving.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed, err := watch(ctx, func(b []byte) {
		if a, ok := parseUserOption(b); ok {
			select {
			case m.routers <- a:
			default: // a flood; what counts comes again
			}
		}
	})
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		for _, p := range m.ports {
			p.shutdown(true)
		}
	}()
	var again <-chan time.Time
	for {
		if err := m.reconcile(ctx); err != nil {
			m.setTrouble(err.Error())
		} else {
			m.setTrouble("")
		}
		m.publish()
		// What went wrong without an event is tried again without one.
		again = nil
		if m.trouble != "" || len(m.refused) > 0 || len(m.servers) > 0 {
			again = time.After(10 * time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-changed:
			if !ok && ctx.Err() == nil {
				return errors.New("the kernel reports no more changes of the network")
			}
		case <-m.poked:
		case a := <-m.routers:
			m.servers[a.index] = serversUntil{a.servers, time.Now().Add(a.life)}
		case <-again:
		}
	}
}

func (m *Manager) poke() {
	select {
	case m.poked <- struct{}{}:
	default:
	}
}

func (m *Manager) hostName() string {
	if m.o.Anonymous {
		return ""
	}
	return m.o.HostName
}

func (m *Manager) setTrouble(what string) {
	if what != "" && what != m.trouble {
		m.log.Error("the network is in trouble", "err", what)
	}
	m.trouble = what
}

// reconcile compares the kernel's interfaces with the ports and starts and
// stops workers as carriers come and go.
func (m *Manager) reconcile(ctx context.Context) error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	present := make(map[int]bool)
	for _, l := range links {
		attrs := l.Attrs()
		if attrs.Flags&net.FlagLoopback != 0 && attrs.Flags&net.FlagUp == 0 {
			if err := netlink.LinkSetUp(l); err != nil {
				return fmt.Errorf("raising %s: %w", attrs.Name, err)
			}
		}
		if !wired(l) {
			continue
		}
		present[attrs.Index] = true
		m.reconcilePort(l)
	}
	for index, p := range m.ports {
		if !present[index] {
			p.shutdown(true)
			m.forget(index)
		}
	}
	carrier := make(map[int]bool)
	for _, l := range links {
		if p := m.ports[l.Attrs().Index]; p != nil {
			carrier[p.index] = hasCarrier(l.Attrs()) && !p.fresh
			p.fresh = false
		}
	}
	for _, p := range m.ports {
		if !carrier[p.index] && p.stop != nil {
			m.log.Info("the carrier is gone", "interface", p.name)
			p.shutdown(false)
			delete(m.servers, p.index)
		}
	}
	m.placeStatic(carrier)
	for _, p := range m.ports {
		if carrier[p.index] && p.stop == nil {
			p.start(ctx)
		}
	}
	return nil
}

// reconcilePort makes a port for an interface that is new, and raises one that
// was lowered.
func (m *Manager) reconcilePort(l netlink.Link) {
	attrs := l.Attrs()
	p := m.ports[attrs.Index]
	if p != nil && (p.name != attrs.Name || p.own != hardwareAddr(attrs.HardwareAddr)) {
		p.shutdown(false)
		m.forget(attrs.Index)
		p = nil
	}
	if p != nil {
		if attrs.Flags&net.FlagUp == 0 {
			if err := netlink.LinkSetUp(l); err != nil {
				m.refused[p.index] = fmt.Sprintf("%s: raising it: %v", p.name, err)
			}
		} else {
			delete(m.refused, p.index)
		}
		return
	}
	p = &port{m: m, index: attrs.Index, name: attrs.Name, own: hardwareAddr(attrs.HardwareAddr),
		log: m.log.With("interface", attrs.Name)}
	notes, err := p.prepare(attrs)
	m.notes[p.index] = notes
	if err != nil {
		if m.refused[p.index] != err.Error() {
			m.log.Error("an interface is left out", "err", err)
		}
		m.refused[p.index] = err.Error()
		return
	}
	delete(m.refused, p.index)
	m.ports[p.index] = p
	// What was listed was the interface before it was raised: look again.
	p.fresh = true
	m.poke()
}

func (m *Manager) forget(index int) {
	delete(m.ports, index)
	delete(m.refused, index)
	delete(m.notes, index)
	delete(m.servers, index)
}

// placeStatic gives the static address to one interface.
func (m *Manager) placeStatic(carrier map[int]bool) {
	if m.o.Static == nil {
		return
	}
	var holder, candidate *port
	for _, index := range slices.Sorted(maps.Keys(m.ports)) {
		p := m.ports[index]
		if p.static != nil {
			holder = p
		}
		if candidate == nil && carrier[index] {
			candidate = p
		}
	}
	if candidate == nil || holder != nil && carrier[holder.index] {
		return
	}
	if holder != nil {
		holder.static = nil
	}
	if candidate.static == nil {
		candidate.shutdown(false)
		candidate.static = m.o.Static
	}
}

// wired says whether an interface is one this package looks after: a piece of
// hardware that speaks Ethernet, or the end of a virtual cable, and no radio.
func wired(l netlink.Link) bool {
	attrs := l.Attrs()
	if attrs.EncapType != "ether" || len(attrs.HardwareAddr) != 6 || attrs.MasterIndex != 0 {
		return false
	}
	if l.Type() != "device" && l.Type() != "veth" {
		return false
	}
	_, err := os.Stat(filepath.Join("/sys/class/net", attrs.Name, "phy80211"))
	return err != nil
}
