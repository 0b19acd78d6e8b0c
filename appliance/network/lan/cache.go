package lan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"phase/appliance/base/ui"
)

// Caps on what strangers can make a browser remember.
const (
	maxSources   = 1024 // who are remembered; see makeRoom
	maxInstances = 32   // of one source
	maxHosts     = 32   // of one source
	maxAddresses = 16   // of one host
	// maxWeight bounds the instances and addresses of all sources together, at
	// some hundred bytes each.
	maxWeight = 8192
	maxLife   = 75 * time.Minute
)

// sourceKey is a sender: an address on an interface.
type sourceKey struct {
	index int
	addr  netip.Addr
}

// source is all that one sender said and that still holds. Nothing of one
// source completes or replaces anything of another.
type source struct {
	service   string                           // whose instances are taken
	since     time.Time                        // first heard
	instances map[string]*instance             // by full name, lower case
	hosts     map[string]map[netip.Addr]expiry // by full name, lower case
	askedAt   time.Time                        // when the missing was last asked for
	weight    int                              // instances and addresses
}

type expiry struct {
	at   time.Time
	from time.Time
}

type instance struct {
	label          string
	pointer        expiry
	service, text  expiry
	target         string
	port           uint16
	channel, arch  string
	version        uint64
	peer, fleet    string
	textUnderstood bool
}

// cache is what a browser knows. The time is passed in, and it owns no sockets.
type cache struct {
	service string // that is looked for
	sources map[sourceKey]*source
	weight  int // of all
}

func newCache(service string) *cache {
	return &cache{service: service, sources: make(map[sourceKey]*source)}
}

// hear takes in an answer that came from one sender on one interface.
func (c *cache) hear(now time.Time, index int, from netip.Addr, msg *dns.Msg) {
	records := slices.Concat(msg.Answer, msg.Extra)
	self := sourceKey{index, from.WithZone("")}
	// A source already known may be answering for its host alone.
	if c.sources[self] == nil && !slices.ContainsFunc(records, c.relevant) {
		return
	}
	s := c.source(now, self)
	// Records marked as complete for their name and type replace what this
	// source said before, never what another said.
	for _, rr := range records {
		h := rr.Header()
		if (h.Rrtype == dns.TypeA || h.Rrtype == dns.TypeAAAA) && h.Class&cacheFlush != 0 {
			maps.DeleteFunc(s.hosts[dns.CanonicalName(h.Name)], func(a netip.Addr, _ expiry) bool {
				return a.Is4() == (h.Rrtype == dns.TypeA)
			})
		}
	}
	for _, rr := range records {
		if rr.Header().Class&^cacheFlush == dns.ClassINET {
			s.take(now, rr)
		}
	}
	if len(s.instances) == 0 {
		c.drop(self)
		return
	}
	c.weigh(s)
	for c.weight > maxWeight {
		c.makeRoom()
	}
}

func (c *cache) relevant(rr dns.RR) bool {
	name := dns.CanonicalName(rr.Header().Name)
	return name == c.service || strings.HasSuffix(name, "."+c.service)
}

// source returns the record of a sender, new if it has not been heard before.
func (c *cache) source(now time.Time, key sourceKey) *source {
	s, ok := c.sources[key]
	if !ok {
		if len(c.sources) >= maxSources {
			c.makeRoom()
		}
		s = &source{service: c.service, since: now, instances: make(map[string]*instance), hosts: make(map[string]map[netip.Addr]expiry)}
		c.sources[key] = s
	}
	return s
}

// plenty is more than a node says of itself: release lines, and addresses.
const plenty = 64

// makeRoom forgets the source that says most, if that is more than any node
// says, or else the one that came last: senders are easily made up, and a crowd
// of them may push out one another, and not those that were here before. One
// that comes after a crowd is heard all the same: what is new is delivered
// before anything else is taken in, and asked for again.
func (c *cache) makeRoom() {
	var out sourceKey
	var worst *source
	for key, s := range c.sources {
		if worst == nil || cmp.Or(cmp.Compare(max(s.weight, plenty), max(worst.weight, plenty)), s.since.Compare(worst.since)) > 0 {
			out, worst = key, s
		}
	}
	c.drop(out)
}

func (c *cache) drop(key sourceKey) {
	if s, ok := c.sources[key]; ok {
		c.weight -= s.weight
		delete(c.sources, key)
	}
}

// weigh notes how much a source has said.
func (c *cache) weigh(s *source) {
	c.weight -= s.weight
	s.weight = len(s.instances)
	for _, addrs := range s.hosts {
		s.weight += 1 + len(addrs)
	}
	c.weight += s.weight
}

func (s *source) take(now time.Time, rr dns.RR) {
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	life := expiry{at: now.Add(min(time.Duration(h.Ttl)*time.Second, maxLife)), from: now}
	switch rr := rr.(type) {
	case *dns.PTR:
		if name == s.service {
			if i := s.instance(rr.Ptr, h.Ttl > 0); i != nil {
				i.pointer = life
			}
		}
	case *dns.SRV:
		if i := s.instance(h.Name, h.Ttl > 0); i != nil {
			i.service, i.target, i.port = life, dns.CanonicalName(rr.Target), rr.Port
		}
	case *dns.TXT:
		if i := s.instance(h.Name, h.Ttl > 0); i != nil {
			i.text = life
			i.readText(rr.Txt, s.service)
		}
	case *dns.A:
		if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
			s.address(name, a, life, h.Ttl > 0)
		}
	case *dns.AAAA:
		if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok && !a.Is4In6() {
			s.address(name, a, life, h.Ttl > 0)
		}
	}
}

// instance returns the one of that name, new if add; nil when it is no
// instance of the service or there is no room.
func (s *source) instance(name string, add bool) *instance {
	key := dns.CanonicalName(name)
	label, ok := strings.CutSuffix(key, "."+s.service)
	if !ok || label == "" {
		return nil
	}
	i, ok := s.instances[key]
	if !ok && add && len(s.instances) < maxInstances {
		i = &instance{label: cleanLabel(strings.TrimSuffix(name[:len(label)], "."))}
		s.instances[key] = i
	}
	return i
}

func (s *source) address(host string, a netip.Addr, life expiry, stays bool) {
	known, ok := s.hosts[host]
	if !ok {
		if !stays || len(s.hosts) >= maxHosts {
			return
		}
		known = make(map[netip.Addr]expiry)
		s.hosts[host] = known
	}
	if !stays {
		delete(known, a)
	} else if _, ok := known[a]; ok || len(known) < maxAddresses {
		known[a] = life
	}
}

// cleanLabel turns the presentation form of a label (\032, \.) into its text,
// with nothing in it that could move a terminal's cursor.
func cleanLabel(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		i++
		b.WriteByte(s[i])
	}
	return ui.Clean(b.String())
}

// readText takes the keys of formats §5. The first of a key counts, RFC 6763
// §6.4; http_port is not read, since SRV says the same with authority.
func (i *instance) readText(txt []string, service string) {
	values := make(map[string]string)
	for _, t := range txt {
		key, value, _ := strings.Cut(cleanLabel(t), "=")
		key = strings.ToLower(key)
		if _, ok := values[key]; !ok {
			values[key] = value
		}
	}
	i.channel, i.arch, i.peer, i.fleet = values["channel"], values["arch"], values["peer"], values["fleet"]
	if service == PeerService {
		i.textUnderstood = i.peer != ""
		return
	}
	version, err := strconv.ParseUint(values["version"], 10, 64)
	i.version = version
	i.textUnderstood = err == nil && version < 1<<53 && i.channel != "" && i.arch != ""
}

// expire forgets what no longer holds and returns when the next of it ends;
// zero when nothing is held.
func (c *cache) expire(now time.Time) (next time.Time) {
	consider := func(e expiry) bool {
		if !e.at.After(now) {
			return false
		}
		if next.IsZero() || e.at.Before(next) {
			next = e.at
		}
		return true
	}
	for key, s := range c.sources {
		for name, i := range s.instances {
			alive := false
			for _, e := range []*expiry{&i.pointer, &i.service, &i.text} {
				if consider(*e) {
					alive = true
				} else {
					*e = expiry{}
				}
			}
			if !alive {
				delete(s.instances, name)
			}
		}
		for host, addrs := range s.hosts {
			maps.DeleteFunc(addrs, func(_ netip.Addr, e expiry) bool { return !consider(e) })
			if len(addrs) == 0 {
				delete(s.hosts, host)
			}
		}
		if len(s.instances) == 0 {
			c.drop(key)
		} else {
			c.weigh(s)
		}
	}
	return next
}
