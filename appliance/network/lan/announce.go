package lan

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"phase/appliance/machine/link"
)

const (
	// announceTimes unasked announcements follow each change, the gap between
	// them doubling from one second, RFC 6762 §8.3.
	announceTimes = 3
	announceGap   = time.Second
	// quiet is how long records are not multicast again on one interface,
	// RFC 6762 §6: a flood of questions gets one answer a second.
	quiet = time.Second
	// maxUnicasts bounds the answers a second to one-shot questions, which
	// come from addresses anyone can forge.
	maxUnicasts = 10
	// strangerEvery is how often an impostor is worth a line in the log.
	strangerEvery = time.Minute
)

// Config is what a node says about itself.
type Config struct {
	// Name is host and instance name, "phase-1a2b3c4d".
	Name string
	// Port is the HTTP port; 0 where no release is served.
	Port uint16
	// Peer is the node's peer id.
	Peer string
	// PeerPort is where the node listens for peers, by UDP for QUIC and by TCP;
	// 0 where it does not.
	PeerPort uint16
	// Fleet names those who sign its releases (formats.md, section 6); may be
	// empty.
	Fleet string
	// Instances are the release lines held, the running one first; empty
	// announces nothing until SetInstances.
	Instances []Instance
}

// Announcer speaks for one node on every interface of the machine.
type Announcer struct {
	config  Config
	changes chan func(*Config)
	done    chan struct{}

	segments   *segments
	strangerAt time.Time
}

// Announce begins to announce and answer questions on every interface that
// has a usable address, and goes on as interfaces and addresses change, until
// ctx ends; then it takes everything back with goodbyes and Done is closed.
//
// There is no probing for the name beforehand: the name is made from the
// node's key, so another user of it is no node to make room for. Asking
// first would give every stranger the means to silence a node.
func Announce(ctx context.Context, c Config) (*Announcer, error) {
	c.Instances = slices.Clone(c.Instances)
	if err := checkConfig(c); err != nil {
		return nil, err
	}
	ifaces, err := watchInterfaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("announcing: %w", err)
	}
	a := &Announcer{
		config:   c,
		changes:  make(chan func(*Config)),
		done:     make(chan struct{}),
		segments: newSegments(),
	}
	go a.run(ctx, ifaces)
	return a, nil
}

// SetInstances replaces the release lines announced; lines no longer held are
// taken back. It refuses what cannot be announced, and does nothing after the
// announcer has ended.
func (a *Announcer) SetInstances(instances []Instance) error {
	if err := checkInstances(a.config.Name, instances); err != nil {
		return err
	}
	a.set(func(c *Config) { c.Instances = slices.Clone(instances) })
	return nil
}

// SetPeer says where the node listens for peers, once that is known, and whose
// releases it holds. It does nothing after the announcer has ended.
func (a *Announcer) SetPeer(port uint16, fleet string) {
	a.set(func(c *Config) { c.PeerPort, c.Fleet = port, fleet })
}

func (a *Announcer) set(change func(*Config)) {
	select {
	case a.changes <- change:
	case <-a.done:
	}
}

// Done is closed when the announcer has said goodbye and let go of its sockets.
func (a *Announcer) Done() <-chan struct{} { return a.done }

func (a *Announcer) run(ctx context.Context, ifaces <-chan []link.Interface) {
	defer close(a.done)
	defer a.segments.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			a.goodbye()
			return
		case list, ok := <-ifaces:
			if !ok {
				ifaces = nil // ctx is ending, or the kernel's news are: what is open stays
				continue
			}
			for _, s := range a.segments.follow(list) {
				a.announceSoon(s)
			}
		case s := <-a.segments.failed:
			a.segments.drop(s)
		case change := <-a.changes:
			a.change(change)
		case p := <-a.segments.packets:
			a.hear(p)
		case <-timer.C:
		}
		timer.Reset(a.sendDue(time.Now()))
	}
}

func (a *Announcer) announceSoon(s *station) {
	s.announceAt, s.announceLeft = time.Now(), announceTimes
}

// change takes back what is not said any more before it says what is new.
func (a *Announcer) change(change func(*Config)) {
	old := a.config
	change(&a.config)
	kept := make(map[string]bool)
	for i, inst := range a.config.Instances {
		kept[instanceLabel(old.Name, i, inst)] = true
	}
	for _, s := range a.segments.stations {
		farewell := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
		for i, inst := range old.Instances {
			if !kept[instanceLabel(old.Name, i, inst)] {
				farewell.Answer = append(farewell.Answer, instanceRecords(old, i, inst, 0)...)
			}
		}
		if len(farewell.Answer) > 0 {
			s.send(s.group(), farewell)
		}
		a.announceSoon(s)
	}
}

func (a *Announcer) goodbye() {
	for _, s := range a.segments.stations {
		for _, m := range announcements(a.config, s.iface.Addresses, 0) {
			s.send(s.group(), m)
		}
	}
}

// sendDue sends what is due and returns how long until something else is.
func (a *Announcer) sendDue(now time.Time) time.Duration {
	wait := time.Hour
	for _, s := range a.segments.stations {
		announce := s.announceLeft > 0 && !now.Before(s.announceAt)
		answer := !s.answerAt.IsZero() && !now.Before(s.answerAt)
		if announce || answer {
			for _, m := range announcements(a.config, s.iface.Addresses, ttl) {
				s.send(s.group(), m)
			}
			s.sentAt, s.answerAt = now, time.Time{}
		}
		if announce {
			s.announceLeft--
			s.announceAt = now.Add(announceGap << (announceTimes - 1 - s.announceLeft))
		}
		if s.announceLeft > 0 {
			wait = min(wait, s.announceAt.Sub(now))
		}
		if !s.answerAt.IsZero() {
			wait = min(wait, s.answerAt.Sub(now))
		}
	}
	return wait
}

func (a *Announcer) hear(p packet) {
	msg, err := parse(p.data)
	if err != nil || p.on != a.segments.stations[p.on.key] {
		return
	}
	if msg.Response {
		a.hearOther(p, msg)
		return
	}
	said := announcements(a.config, p.on.iface.Addresses, ttl)
	if !asked(msg, said) {
		return
	}
	now := time.Now()
	if p.from.Port() != mdnsPort {
		a.answerOneShot(now, p, msg, said)
		return
	}
	// RFC 6762 §6: a shared record waits 20–120 ms, so that the answers of
	// many nodes do not collide.
	at := now.Add(20*time.Millisecond + rand.N(100*time.Millisecond))
	if next := p.on.sentAt.Add(quiet); at.Before(next) {
		at = next
	}
	if p.on.answerAt.IsZero() || at.Before(p.on.answerAt) {
		p.on.answerAt = at
	}
}

func (a *Announcer) answerOneShot(now time.Time, p packet, query *dns.Msg, said []*dns.Msg) {
	if !onLink(p.on.iface, p.from.Addr()) {
		return
	}
	if now.Sub(p.on.unicastsFrom) > time.Second {
		p.on.unicasts, p.on.unicastsFrom = 0, now
	}
	if p.on.unicasts++; p.on.unicasts > maxUnicasts {
		return
	}
	p.on.send(p.from, oneShot(query, said))
}

// hearOther notices a stranger who speaks under this node's name. Others may
// have taken the stranger's words in our place, so ours are said again; no node
// of this project does, since everything heard is kept by its sender.
func (a *Announcer) hearOther(p packet, msg *dns.Msg) {
	if a.segments.own(p.from.Addr()) { // another interface of this node on the same segment
		return
	}
	for _, rr := range slices.Concat(msg.Answer, msg.Extra) {
		h := rr.Header()
		ours := strings.EqualFold(h.Name, a.config.Name+".local.") || strings.EqualFold(h.Name, a.config.Name+"."+Service)
		if !ours || h.Ttl == 0 {
			continue
		}
		now := time.Now()
		if now.Sub(a.strangerAt) >= strangerEvery {
			a.strangerAt = now
			slog.Warn("a stranger announces under this node's name",
				"name", a.config.Name, "interface", p.on.iface.Name, "from", p.from.Addr().String())
		}
		if next := p.on.sentAt.Add(quiet); p.on.answerAt.IsZero() {
			p.on.answerAt = next
		}
		return
	}
}
