package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/link/nic"
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
	minLease time.Duration
	firstGap time.Duration
	grace    time.Duration

	ports    map[int]*port // by interface
	poked    chan struct{}
	routers  chan announcedServers
	resolved string // what stands in Resolv
	reported statefile.Net
	trouble  string   // about the whole machine
	carrier  bool     // an interface has one
	settings []string // what the kernel could not be told
}

// NewManager returns a manager that has done nothing yet.
func NewManager(o Options) *Manager {
	if o.anonymous() {
		o.HostName = ""
	}
	return &Manager{
		o: o, minLease: minLease, firstGap: firstGap, grace: linkLocalGrace,
		ports: make(map[int]*port), poked: make(chan struct{}, 1), routers: make(chan announcedServers, 16),
	}
}

// Run brings the interfaces up and keeps them so until ctx ends, which is
// its only good end (nil). Addresses stay on the interfaces afterwards, so
// that other programs can finish what they are serving.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.settings = nic.PrepareAll(m.o.Settings)
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
	news, err := plugged(ctx)
	if err != nil {
		// A card without a driver that is plugged in later is named with the next change.
		m.settings = append(m.settings, err.Error())
	}
	defer func() {
		cancel()
		for _, p := range m.ports {
			p.shutdown(true)
		}
	}()
	for {
		before := m.trouble
		m.trouble = ""
		if err := m.reconcile(ctx); err != nil {
			if m.trouble = err.Error(); m.trouble != before {
				slog.Error("the network is in trouble", "err", err)
			}
		}
		m.publish()
		// What went wrong without an event is tried again without one.
		var again <-chan time.Time
		rescan := m.o.Rescan != nil && !m.carrier
		unsettled := m.trouble != "" || rescan
		for _, p := range m.ports {
			unsettled = unsettled || p.refused != "" || len(p.servers) > 0
		}
		if unsettled {
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
		case <-news:
		case a := <-m.routers:
			if p := m.ports[a.index]; p != nil {
				p.servers, p.serversUntil = a.servers, time.Now().Add(a.life)
			}
		case <-again:
			if rescan {
				if err := m.o.Rescan(); err != nil {
					slog.Debug("no new cards are found", "err", err) // a machine without PCI
				}
			}
		}
	}
}

func (m *Manager) poke() {
	select {
	case m.poked <- struct{}{}:
	default:
	}
}

// reconcile compares the kernel's interfaces with the ports and starts and
// stops workers as carriers come and go.
func (m *Manager) reconcile(ctx context.Context) error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	carrier := make(map[int]bool) // of every wired interface there is
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
		m.reconcilePort(l)
		p := m.ports[attrs.Index]
		carrier[p.index] = p.ready && !p.fresh && hasCarrier(attrs)
		p.fresh = false
	}
	for index, p := range m.ports {
		switch has, there := carrier[index]; {
		case !there:
			p.shutdown(true)
			delete(m.ports, index)
		case !has && p.stop != nil:
			slog.Info("the carrier is gone", "interface", p.name)
			p.shutdown(false)
			p.servers = nil
		}
	}
	m.carrier = slices.Contains(slices.Collect(maps.Values(carrier)), true)
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
	if p != nil && p.ready && (p.name != attrs.Name || p.own != hardwareAddr(attrs.HardwareAddr)) {
		p.shutdown(false)
		p = nil
	}
	if p != nil && p.ready {
		p.refused = ""
		if attrs.Flags&net.FlagUp == 0 {
			if err := netlink.LinkSetUp(l); err != nil {
				p.refused = fmt.Sprintf("%s: raising it: %v", p.name, err)
			}
		}
		return
	}
	before := ""
	if p != nil {
		before = p.refused
	}
	p = &port{m: m, index: attrs.Index, name: attrs.Name, own: hardwareAddr(attrs.HardwareAddr),
		log: slog.With("interface", attrs.Name)}
	m.ports[p.index] = p
	var err error
	if p.notes, err = p.prepare(attrs); err != nil {
		if p.refused = err.Error(); p.refused != before {
			slog.Error("an interface is left out", "err", err)
		}
		return
	}
	// What was listed was the interface before it was raised: look again.
	p.ready, p.fresh = true, true
	m.poke()
}

// placeStatic gives the static address to one interface.
func (m *Manager) placeStatic(carrier map[int]bool) {
	if m.o.Settings.IP.DHCP() {
		return
	}
	var holder, candidate *port
	for _, index := range slices.Sorted(maps.Keys(m.ports)) {
		p := m.ports[index]
		if p.static {
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
		holder.static = false
	}
	candidate.shutdown(false)
	candidate.static = true
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
