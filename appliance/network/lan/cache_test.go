package lan

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"phase/appliance/machine/link"
	"phase/appliance/release/survey"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

var (
	testTime  = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	testIface = link.Interface{Name: "eth0", Index: 2, Up: true, Addresses: prefixes("192.0.2.9/24", "fe80::9/64")}
	ifaces    = map[int]link.Interface{2: testIface}
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func packed(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	data, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hearAll(t testing.TB, c *cache, at time.Time, from string, c2 Config, addrs []netip.Prefix, life uint32) {
	t.Helper()
	for _, m := range announcements(c2, addrs, life) {
		c.hear(at, 2, netip.MustParseAddr(from), packed(t, m))
	}
}

func TestBothFamiliesAreOneNode(t *testing.T) {
	c := newCache(Service)
	addrs := prefixes("192.0.2.1/24", "fe80::1/64", "2001:db8::1/64", "169.254.3.4/16")
	hearAll(t, c, testTime, "192.0.2.1", someConfig("d"), addrs, ttl)
	hearAll(t, c, testTime, "fe80::1%eth0", someConfig("d"), addrs, ttl)
	got := c.found(testTime, ifaces)
	want := []survey.Announcement{{
		Key: "eth0 fe80::1%eth0 phase-1a2b3c4d 8080", Name: "phase-1a2b3c4d", Channel: "stable", Arch: "x86_64", Version: 42,
		Peer: "12D3KooWpeerd", Interface: "eth0", Source: "fe80::1%eth0",
		URLs: []string{"http://[fe80::1%25eth0]:8080", "http://192.0.2.1:8080"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLivesEnd(t *testing.T) {
	c := newCache(Service)
	hearAll(t, c, testTime, "fe80::1", someConfig("d"), prefixes("fe80::1/64"), ttl)
	if next := c.expire(testTime); !next.Equal(testTime.Add(ttl * time.Second)) {
		t.Errorf("next end %v", next)
	}
	if at := c.refreshAt(2); !at.Equal(testTime.Add(ttl * time.Second * 4 / 5)) {
		t.Errorf("asks again at %v", at)
	}
	after := testTime.Add(ttl * time.Second)
	if next := c.expire(after); !next.IsZero() || len(c.sources) != 0 || len(c.found(after, ifaces)) != 0 {
		t.Errorf("something is left: %v", c.sources)
	}
}

func TestGoodbyeSpeaksForItsSenderOnly(t *testing.T) {
	c := newCache(Service)
	hearAll(t, c, testTime, "fe80::1", someConfig("d"), prefixes("fe80::1/64"), ttl)
	hearAll(t, c, testTime, "fe80::bad", someConfig("d"), prefixes("fe80::1/64"), 0)
	if got := c.found(testTime, ifaces); len(got) != 1 {
		t.Errorf("a stranger's goodbye left %v", got)
	}
	hearAll(t, c, testTime, "fe80::1", someConfig("d"), prefixes("fe80::1/64"), 0)
	if c.expire(testTime); len(c.sources) != 0 {
		t.Errorf("its own goodbye left %v", c.found(testTime, ifaces))
	}
}

func TestAddressesAreReplaced(t *testing.T) {
	c := newCache(Service)
	hearAll(t, c, testTime, "fe80::1", someConfig("d"), prefixes("fe80::1/64", "192.0.2.1/24"), ttl)
	hearAll(t, c, testTime, "fe80::1", someConfig("d"), prefixes("fe80::1/64", "192.0.2.5/24"), ttl)
	got := c.found(testTime, ifaces)
	if len(got) != 1 || !slices.Equal(got[0].URLs, []string{"http://[fe80::1%25eth0]:8080", "http://192.0.2.5:8080"}) {
		t.Errorf("found %+v", got)
	}
}

// TestWhatStrangersSend holds hostile announcements: each is listed by what
// must be found of it.
func TestWhatStrangersSend(t *testing.T) {
	set := func(change func(i int, rr dns.RR) dns.RR) *dns.Msg {
		m := announcements(someConfig("d"), prefixes("fe80::1/64"), ttl)[0]
		for i, rr := range m.Answer {
			m.Answer[i] = change(i, rr)
		}
		return m
	}
	text := func(txt ...string) *dns.Msg {
		return set(func(_ int, rr dns.RR) dns.RR {
			if r, ok := rr.(*dns.TXT); ok {
				r.Txt = txt
			}
			return rr
		})
	}
	for name, c := range map[string]struct {
		msg   *dns.Msg
		found int
		check func(survey.Announcement) bool
	}{
		"version not decimal":   {text("channel=stable", "arch=arm64", "version=0x10"), 0, nil},
		"version of 2^53":       {text("channel=stable", "arch=arm64", "version=9007199254740992"), 0, nil},
		"negative version":      {text("channel=stable", "arch=arm64", "version=-1"), 0, nil},
		"no channel":            {text("arch=arm64", "version=1"), 0, nil},
		"key given twice":       {text("channel=stable", "channel=testing", "arch=arm64", "version=1"), 1, func(f survey.Announcement) bool { return f.Channel == "stable" }},
		"control characters":    {text("channel=sta\x1b[2Jble", "arch=a\nb", "version=1", "peer=\x07x"), 1, func(f survey.Announcement) bool { return !strings.ContainsAny(f.Channel+f.Arch+f.Peer, "\x1b\n\x07") }},
		"http_port against SRV": {text("channel=stable", "arch=arm64", "version=1", "http_port=1"), 1, func(f survey.Announcement) bool { return strings.HasSuffix(f.URLs[0], ":8080") }},
		"address of somebody beyond": {set(func(_ int, rr dns.RR) dns.RR {
			if r, ok := rr.(*dns.AAAA); ok {
				r.AAAA = netip.MustParseAddr("2001:db8::1").AsSlice()
			}
			return rr
		}), 0, nil},
		"loopback address": {set(func(_ int, rr dns.RR) dns.RR {
			if r, ok := rr.(*dns.AAAA); ok {
				r.AAAA = netip.MustParseAddr("::1").AsSlice()
			}
			return rr
		}), 0, nil},
		"port zero": {set(func(_ int, rr dns.RR) dns.RR {
			if r, ok := rr.(*dns.SRV); ok {
				r.Port = 0
			}
			return rr
		}), 0, nil},
		"another service": {set(func(_ int, rr dns.RR) dns.RR {
			if r, ok := rr.(*dns.PTR); ok && r.Hdr.Name == Service {
				r.Ptr = "x._http._tcp.local."
			}
			return rr
		}), 0, nil},
	} {
		c2 := newCache(Service)
		c2.hear(testTime, 2, netip.MustParseAddr("fe80::1"), packed(t, c.msg))
		got := c2.found(testTime, ifaces)
		if len(got) != c.found || c.check != nil && !c.check(got[0]) {
			t.Errorf("%s: found %+v", name, got)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c := newCache(Service)
	for i := range 2 * maxSources {
		config := someConfig("d")
		addr := netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(i >> 8), 15: byte(i)})
		for j := range 2 * maxInstances {
			config.Name = fmt.Sprintf("phase-%d-%d", i, j)
			hearAll(t, c, testTime.Add(time.Duration(i)*time.Millisecond), addr.String(), config, prefixes("fe80::1/64"), ttl)
		}
	}
	if len(c.sources) > maxSources || len(c.sources) < 50 || c.weight > maxWeight {
		t.Errorf("%d sources of weight %d", len(c.sources), c.weight)
	}
	weight := 0
	for _, s := range c.sources {
		weight += s.weight
		if len(s.instances) > maxInstances || len(s.hosts) > maxHosts {
			t.Errorf("%d instances, %d hosts of one source", len(s.instances), len(s.hosts))
		}
	}
	if weight != c.weight {
		t.Errorf("the sources weigh %d, not %d", weight, c.weight)
	}
	if c.expire(testTime.Add(2 * maxLife)); c.weight != 0 || len(c.sources) != 0 {
		t.Errorf("nothing weighs %d", c.weight)
	}
}

// TestHeavyGoFirst: who says more than any node does makes room, not who was
// quiet and came late.
func TestHeavyGoFirst(t *testing.T) {
	c := newCache(Service)
	for i := range 400 {
		config := someConfig("d")
		addr := netip.AddrFrom16([16]byte{0xfe, 0x80, 13: 2, 14: byte(i >> 8), 15: byte(i)})
		for j := range maxInstances {
			config.Name = fmt.Sprintf("phase-%d-%d", i, j)
			hearAll(t, c, testTime.Add(time.Duration(i)*time.Millisecond), addr.String(), config, prefixes("fe80::1/64"), ttl)
		}
		if i == 200 {
			hearAll(t, c, testTime.Add(200*time.Millisecond), "fe80::a", someConfig("e"), prefixes("fe80::a/64"), ttl)
		}
	}
	if c.sources[sourceKey{2, netip.MustParseAddr("fe80::a")}] == nil {
		t.Error("the quiet one is forgotten")
	}
}

// TestCrowdPushesNobodyOut: those who were heard before a crowd of made-up
// senders are still known, and who comes after it becomes known.
func TestCrowdPushesNobodyOut(t *testing.T) {
	c := newCache(Service)
	hear := func(at int, addr, name string) {
		config := someConfig("d")
		config.Name = name
		hearAll(t, c, testTime.Add(time.Duration(at)*time.Millisecond), addr, config, prefixes("fe80::1/64"), ttl)
	}
	hear(0, "fe80::a", "phase-before")
	for i := range 3 * maxSources {
		hear(1+i, netip.AddrFrom16([16]byte{0xfe, 0x80, 13: 1, 14: byte(i >> 8), 15: byte(i)}).String(), fmt.Sprintf("phase-%d", i))
	}
	hear(1000, "fe80::b", "phase-after")
	for _, addr := range []string{"fe80::a", "fe80::b"} {
		known := false
		for key := range c.sources {
			known = known || key.addr == netip.MustParseAddr(addr)
		}
		if !known {
			t.Errorf("%s is forgotten", addr)
		}
	}
	if len(c.sources) != maxSources {
		t.Errorf("%d sources", len(c.sources))
	}
}

// TestManyInstancesFitFrames: each message stays whole and small, and together
// they say everything.
func TestManyInstancesFitFrames(t *testing.T) {
	config := someConfig("d")
	config.Peer = "12D3KooW" + strings.Repeat("x", 44)
	config.Instances = nil
	for i := range maxInstances {
		config.Instances = append(config.Instances, Instance{fmt.Sprintf("testing%d", i), "x86_64", 1 << 50})
	}
	messages := announcements(config, prefixes("fe80::1/64", "192.0.2.1/24"), ttl)
	c := newCache(Service)
	for _, m := range messages {
		data, err := m.Pack()
		if err != nil || len(data) > softPacket {
			t.Errorf("a message of %d bytes: %v", len(data), err)
		}
		c.hear(testTime, 2, netip.MustParseAddr("fe80::1"), packed(t, m))
	}
	if got := c.found(testTime, ifaces); len(got) != maxInstances || len(messages) < 2 {
		t.Errorf("%d found in %d messages", len(got), len(messages))
	}
}

func TestKnownAnswersAreNotRepeated(t *testing.T) {
	said := announcements(someConfig("d"), prefixes("fe80::1/64"), ttl)
	query := &dns.Msg{Question: []dns.Question{{Name: "_PHASE-image._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET | cacheFlush}}}
	if !asked(query, said) {
		t.Error("a question is not seen")
	}
	query.Answer = instanceRecords(someConfig("d"), 0, someConfig("d").Instances[0], ttl)[:1]
	if asked(packed(t, query), said) {
		t.Error("what the asker knows is repeated")
	}
	query.Answer[0].Header().Ttl = ttl/2 - 1
	if !asked(packed(t, query), said) {
		t.Error("what the asker is about to forget is not repeated")
	}
	query.Question[0].Name = "_http._tcp.local."
	if asked(query, said) {
		t.Error("another's question is answered")
	}
}

// FuzzHear: whatever bytes arrive, nothing unbounded or unprintable comes of
// them, every URL is on the link, and another source's node stays found.
func FuzzHear(f *testing.F) {
	for _, m := range announcements(someConfig("d"), prefixes("fe80::1/64", "192.0.2.1/24"), ttl) {
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0, 0, 0x84, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := newCache(Service)
		hearAll(t, c, testTime, "fe80::77", someConfig("e"), prefixes("fe80::77/64"), ttl)
		if msg, err := parse(data); err == nil {
			c.hear(testTime, 2, netip.MustParseAddr("fe80::1"), msg)
			if said := announcements(someConfig("d"), testIface.Addresses, ttl); asked(msg, said) {
				if answer, err := oneShot(msg, said).Pack(); err == nil && len(answer) > maxPacket {
					t.Errorf("an answer of %d bytes", len(answer))
				}
			}
		}
		c.expire(testTime)
		honest := false
		for _, found := range c.found(testTime, ifaces) {
			honest = honest || found.Name == "phase-1a2b3c4e" && found.Source == "fe80::77%eth0"
			if len(found.URLs) == 0 || len(found.URLs) > 2*maxAddresses || found.Version >= 1<<53 {
				t.Errorf("found %+v", found)
			}
			for _, u := range found.URLs {
				base, err := url.Parse(u)
				if err != nil || !onLink(testIface, netip.MustParseAddr(base.Hostname())) {
					t.Errorf("%s is not on this link: %v", u, err)
				}
			}
			for _, s := range []string{found.Name, found.Channel, found.Arch, found.Peer} {
				if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Errorf("%q holds control characters", s)
				}
			}
		}
		if !honest {
			t.Error("the other node is masked")
		}
	})
}
