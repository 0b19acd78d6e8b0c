package lan

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"phase/appliance/machine/link"
	"phase/appliance/release/survey"
)

const (
	// The first questions come quickly, then each gap is twice the last up to
	// an hour, RFC 6762 §5.2.
	firstGap = time.Second
	maxGap   = time.Hour
	// missingGap is how often a source is asked for what it left out.
	missingGap = time.Second
	// refreshGap is the least time between two questions that keep what is
	// known from being forgotten, whatever lives strangers give their records.
	refreshGap = 5 * time.Second
	// tick is how often, at most, everything that is known is looked through: a
	// flood of packets must not make a flood of work.
	tick = 50 * time.Millisecond
	// maxPending bounds what a slow reader of Find's channel can leave
	// unread; the oldest is dropped.
	maxPending = 1024
)

// Finder looks for nodes on every interface, as package survey wants it.
type Finder struct {
	// Channel and Arch, when not empty, leave out everything else.
	Channel, Arch string
	// SkipOwn leaves out what this machine itself announces.
	SkipOwn bool
	// Again is how often what is still announced is delivered once more, for a
	// reader that cannot remember all of it; 0 is never.
	Again time.Duration
}

// Find looks until ctx ends, when the channel is closed. Each announcement is
// delivered when it is first heard and again when anything in it changes. A
// reader that is slow loses nothing newer than its 1024 oldest unread.
func (f Finder) Find(ctx context.Context) (<-chan survey.Announcement, error) {
	b, err := newBrowser(ctx, f, Service)
	if err != nil {
		return nil, err
	}
	out := make(chan survey.Announcement)
	go b.run(ctx, out)
	return out, nil
}

type browser struct {
	o        Finder
	segments *segments
	cache    *cache
	changes  <-chan []link.Interface
	ifaces   map[int]link.Interface
	sent     map[string]bool // contents delivered and still announced
	sentAt   time.Time       // when all of them were, for Again
	pending  []survey.Announcement
	tick     time.Duration
	tickAt   time.Time
}

func newBrowser(ctx context.Context, o Finder, service string) (*browser, error) {
	changes, err := watchInterfaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for nodes nearby: %w", err)
	}
	return &browser{
		o: o, segments: newSegments(), cache: newCache(service), changes: changes,
		ifaces: make(map[int]link.Interface), sent: make(map[string]bool),
	}, nil
}

func (b *browser) run(ctx context.Context, out chan<- survey.Announcement) {
	defer close(out)
	defer b.segments.close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		if !now.Before(b.tickAt) {
			wait := b.due(now)
			b.collect(now)
			// However much there is to look through, most time is for listening.
			b.tick = max(tick, 10*time.Since(now))
			b.tickAt = now.Add(max(wait, b.tick))
		}
		timer.Reset(b.tickAt.Sub(now))
		var deliver chan<- survey.Announcement
		var next survey.Announcement
		if len(b.pending) > 0 {
			deliver, next = out, b.pending[0]
		}
		select {
		case <-ctx.Done():
			return
		case list, ok := <-b.changes:
			if !ok {
				b.changes = nil
				continue
			}
			b.follow(list)
			b.tickAt = time.Time{}
		case s := <-b.segments.failed:
			b.segments.drop(s)
		case p := <-b.segments.packets:
			b.hear(p)
		case <-timer.C:
		case deliver <- next:
			b.pending = b.pending[1:]
		}
	}
}

func (b *browser) follow(list []link.Interface) {
	changed := b.segments.follow(list)
	b.ifaces = make(map[int]link.Interface)
	for _, i := range list {
		if i.Up {
			b.ifaces[i.Index] = i
		}
	}
	for key := range b.cache.sources {
		if _, ok := b.ifaces[key.index]; !ok {
			b.cache.drop(key)
		}
	}
	for _, s := range changed {
		// RFC 6762 §5.2: the first question waits 20–120 ms, since a whole
		// segment may have been switched on together.
		s.askAt, s.askAfter = time.Now().Add(20*time.Millisecond+rand.N(100*time.Millisecond)), firstGap
	}
}

func (b *browser) hear(p packet) {
	// RFC 6762 §6: answers come from the multicast DNS port, or are ignored.
	if p.from.Port() != mdnsPort || p.on != b.segments.stations[p.on.key] {
		return
	}
	msg, err := parse(p.data)
	if err != nil || !msg.Response {
		return
	}
	now := time.Now()
	b.cache.hear(now, p.on.key.index, p.from.Addr(), msg)
	b.deliver(b.cache.of(sourceKey{p.on.key.index, p.from.Addr().WithZone("")}, now, b.ifaces))
	b.askMissing(now, p)
	if soon := now.Add(b.tick); b.tickAt.After(soon) {
		b.tickAt = soon // what was heard may end sooner than all else
	}
}

// due asks what is due, forgets what has ended, and returns how long until
// something is due again.
func (b *browser) due(now time.Time) time.Duration {
	wait := maxGap
	if b.o.Again > 0 {
		wait = min(wait, b.o.Again)
	}
	if next := b.cache.expire(now); !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	for _, s := range b.segments.stations {
		if !now.Before(s.askAt) {
			b.ask(now, s)
			s.askAt = now.Add(s.askAfter)
			s.askAfter = min(2*s.askAfter, maxGap)
		} else if at := b.refreshAt(s); !at.IsZero() && !now.Before(at) {
			b.ask(now, s)
		}
		wait = min(wait, s.askAt.Sub(now))
		if at := b.refreshAt(s); !at.IsZero() {
			wait = min(wait, at.Sub(now))
		}
	}
	return max(wait, 0)
}

// refreshAt is when the station should ask again for what would otherwise be
// forgotten; zero for never.
func (b *browser) refreshAt(s *station) time.Time {
	at := b.cache.refreshAt(s.key.index)
	if earliest := s.askedAt.Add(refreshGap); !at.IsZero() && at.Before(earliest) {
		return earliest
	}
	return at
}

// ask sends the question of the service. It does not list the answers known
// already, as RFC 6762 §7.1 would have it to save traffic: a stranger who had
// announced under a node's name would then have silenced the node.
func (b *browser) ask(now time.Time, s *station) {
	s.askedAt = now
	q := &dns.Msg{Compress: true}
	q.Question = []dns.Question{{Name: b.cache.service, Qtype: dns.TypePTR, Qclass: dns.ClassINET}}
	s.send(s.group(), q)
}

// askMissing asks for the parts of announcements that a responder left out.
func (b *browser) askMissing(now time.Time, p packet) {
	s, ok := b.cache.sources[sourceKey{p.on.key.index, p.from.Addr().WithZone("")}]
	if !ok || now.Sub(s.askedAt) < missingGap {
		return
	}
	q := &dns.Msg{Compress: true}
	for name, i := range s.instances {
		if len(q.Question) >= maxInstances {
			break
		}
		switch {
		case !i.service.at.After(now):
			q.Question = append(q.Question, dns.Question{Name: name, Qtype: dns.TypeSRV, Qclass: dns.ClassINET})
		case len(s.hosts[i.target]) == 0:
			q.Question = append(q.Question,
				dns.Question{Name: i.target, Qtype: dns.TypeAAAA, Qclass: dns.ClassINET},
				dns.Question{Name: i.target, Qtype: dns.TypeA, Qclass: dns.ClassINET})
		}
		if !i.text.at.After(now) {
			q.Question = append(q.Question, dns.Question{Name: name, Qtype: dns.TypeTXT, Qclass: dns.ClassINET})
		}
	}
	if len(q.Question) > 0 {
		s.askedAt = now
		p.on.send(p.on.group(), q)
	}
}

// deliver queues what was not delivered in its present form.
func (b *browser) deliver(list []survey.Announcement) {
	for _, f := range list {
		if said := content(f); b.wants(f) && !b.sent[said] {
			b.sent[said] = true
			b.pending = append(b.pending, f)
		}
	}
	if over := len(b.pending) - maxPending; over > 0 {
		b.pending = slices.Delete(b.pending, 0, over)
	}
}

// collect looks through everything: it delivers what the machine's own changes
// made reachable, and forgets what was delivered and is no longer announced.
func (b *browser) collect(now time.Time) {
	if b.o.Again > 0 && now.Sub(b.sentAt) >= b.o.Again {
		clear(b.sent)
		b.sentAt = now
	}
	list := b.cache.found(now, b.ifaces)
	b.deliver(list)
	b.sent = make(map[string]bool, len(list))
	for _, f := range list {
		if b.wants(f) {
			b.sent[content(f)] = true
		}
	}
}

func (b *browser) wants(f survey.Announcement) bool {
	from, _ := netip.ParseAddr(f.Source)
	return (b.o.Channel == "" || f.Channel == b.o.Channel) && (b.o.Arch == "" || f.Arch == b.o.Arch) &&
		(!b.o.SkipOwn || !b.segments.own(from))
}

// refreshAt is when what was heard on an interface wants to be asked for
// again: four fifths into the shortest life, RFC 6762 §5.2. Zero is never.
func (c *cache) refreshAt(index int) (at time.Time) {
	for key, s := range c.sources {
		if key.index != index {
			continue
		}
		for _, i := range s.instances {
			for _, e := range []expiry{i.pointer, i.service, i.text} {
				if e.at.IsZero() {
					continue
				}
				if t := e.from.Add(e.at.Sub(e.from) * 4 / 5); at.IsZero() || t.Before(at) {
					at = t
				}
			}
		}
	}
	return at
}
