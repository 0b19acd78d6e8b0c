package lan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"phase/tests/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main(m, map[string]netlab.Role{"announce": announceRole, "browse": browseRole, "avahi": avahiRole})
}

// announceArgs is a Config and what is announced after it.
type announceArgs struct {
	Config Config
	Then   []Instance
	When   string // a pipe, empty for none: once it is written to, Then is announced
}

func announceRole(ctx context.Context, args []byte, say func(any)) error {
	var a announceArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	a.Config.Log = slog.New(slog.NewTextHandler(&lineSayer{say}, nil))
	announcer, err := Announce(ctx, a.Config)
	if err != nil {
		return err
	}
	if a.When != "" {
		pipe, err := os.Open(a.When) // a pipe: opens when the test writes
		if err != nil {
			return err
		}
		pipe.Close()
		if err := announcer.SetInstances(a.Then); err != nil {
			return err
		}
	}
	<-announcer.Done()
	return nil
}

// lineSayer tells the test what the announcer logs.
type lineSayer struct{ say func(any) }

func (l *lineSayer) Write(b []byte) (int, error) { l.say(string(b)); return len(b), nil }

func browseRole(ctx context.Context, args []byte, say func(any)) error {
	var o BrowseOptions
	if err := json.Unmarshal(args, &o); err != nil {
		return err
	}
	found, err := Browse(ctx, o)
	if err != nil {
		return err
	}
	for f := range found {
		say(f)
	}
	return nil
}

// raise brings a node's interfaces up with nothing but what the kernel gives.
func raise(t *testing.T, n *netlab.Node, names ...string) {
	t.Helper()
	n.Do(t, func() {
		for _, name := range names {
			l, err := netlink.LinkByName(name)
			if err == nil {
				err = netlink.LinkSetUp(l)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func addAddress(t *testing.T, n *netlab.Node, name, prefix string) {
	t.Helper()
	n.Do(t, func() {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			t.Fatal(err)
		}
	})
}

func someConfig(last string) Config {
	return Config{Name: "phase-1a2b3c4" + last, Port: 8080, Peer: "12D3KooWpeer" + last,
		Instances: []Instance{{"stable", "x86_64", 42}}}
}

func hasFamily(f Found, v6 bool) bool {
	return slices.ContainsFunc(f.Addresses, func(a netip.Addr) bool { return a.Is6() == v6 })
}

func TestFoundOverLinkLocalIPv6Alone(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	a := netlab.Start(t, "a", "announce", announceArgs{Config: someConfig("d")})
	b := netlab.Start(t, "b", "browse", BrowseOptions{SkipOwn: true})
	s.Plug(t, a, "eth0")
	s.Plug(t, b, "wire")
	raise(t, b, "wire")
	raise(t, a, "eth0")
	f := netlab.Wait(t, b, "the other node", func(f Found) bool { return true })
	if f.Instance != "phase-1a2b3c4d" || f.Host != "phase-1a2b3c4d" || f.Channel != "stable" || f.Arch != "x86_64" ||
		f.Version != 42 || f.Peer != "12D3KooWpeerd" || f.Port != 8080 || f.Interface != "wire" {
		t.Errorf("found %+v", f)
	}
	if len(f.URLs) != 1 || !strings.HasPrefix(f.URLs[0], "http://[fe80::") || !strings.HasSuffix(f.URLs[0], "%25wire]:8080") {
		t.Errorf("URLs %q, want the link-local one with this side's zone", f.URLs)
	}
	// Addresses that come later are announced anew, on-link ones only.
	addAddress(t, b, "wire", "192.0.2.2/24")
	addAddress(t, a, "eth0", "192.0.2.1/24")
	addAddress(t, a, "eth0", "198.51.100.1/24")
	f = netlab.Wait(t, b, "its IPv4 address", func(f Found) bool { return hasFamily(f, false) })
	if !slices.Equal(f.URLs[1:], []string{"http://192.0.2.1:8080"}) {
		t.Errorf("URLs %q, want the IPv4 address on this link after the link-local one", f.URLs)
	}
}

func TestFoundOverIPv4Alone(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	a := netlab.Start(t, "a", "announce", announceArgs{Config: someConfig("d")})
	b := netlab.Start(t, "b", "browse", BrowseOptions{})
	for n, addr := range map[*netlab.Node]string{a: "169.254.7.1/16", b: "169.254.7.2/16"} {
		s.Plug(t, n, "eth0")
		n.Do(t, func() {
			// Without IPv6 on the interface there is nothing else to be found by.
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("1"), 0o644); err != nil {
				t.Skipf("IPv6 cannot be turned off: %v", err)
			}
		})
		addAddress(t, n, "eth0", addr)
		raise(t, n, "eth0")
	}
	f := netlab.Wait(t, b, "the other node", func(Found) bool { return true })
	if !slices.Equal(f.URLs, []string{"http://169.254.7.1:8080"}) {
		t.Errorf("URLs %q", f.URLs)
	}
}

func TestInstancesFollow(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	pipe := t.TempDir() + "/pipe"
	mkfifo(t, pipe)
	a := netlab.Start(t, "a", "announce", announceArgs{
		Config: someConfig("d"), When: pipe,
		Then: []Instance{{"stable", "x86_64", 43}, {"testing", "arm64", 7}},
	})
	b := netlab.Start(t, "b", "browse", BrowseOptions{})
	for _, n := range []*netlab.Node{a, b} {
		s.Plug(t, n, "eth0")
		raise(t, n, "eth0")
	}
	netlab.Wait(t, b, "version 42", func(f Found) bool { return f.Version == 42 })
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	seen := make(map[string]uint64)
	netlab.Wait(t, b, "both of the new release lines", func(f Found) bool {
		seen[f.Instance+" "+f.Channel+" "+f.Arch] = f.Version
		return seen["phase-1a2b3c4d stable x86_64"] == 43 && seen["phase-1a2b3c4d-testing-arm64 testing arm64"] == 7
	})
}

func TestImpostorMasksNobody(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	stranger := someConfig("d") // everything the same, but a higher version
	stranger.Instances = []Instance{{"stable", "x86_64", 1000}}
	b := netlab.Start(t, "b", "browse", BrowseOptions{})
	s.Plug(t, b, "eth0")
	raise(t, b, "eth0")
	c := netlab.Start(t, "stranger", "announce", announceArgs{Config: stranger})
	s.Plug(t, c, "eth0")
	raise(t, c, "eth0")
	forged := netlab.Wait(t, b, "the stranger", func(f Found) bool { return f.Version == 1000 })
	a := netlab.Start(t, "honest", "announce", announceArgs{Config: someConfig("d")})
	s.Plug(t, a, "eth0")
	raise(t, a, "eth0")
	honest := netlab.Wait(t, b, "the honest node", func(f Found) bool { return f.Version == 42 })
	if honest.Source == forged.Source || slices.Equal(honest.URLs, forged.URLs) || len(honest.URLs) != 1 {
		t.Errorf("the two are mixed: %+v and %+v", honest, forged)
	}
	netlab.Wait(t, a, "a warning of the stranger", func(line string) bool {
		return strings.Contains(line, "stranger") && strings.Contains(line, forged.Source.WithZone("").String())
	})
	// A browser that comes later hears both, though each was asked once.
	late := netlab.Start(t, "late", "browse", BrowseOptions{})
	s.Plug(t, late, "eth0")
	raise(t, late, "eth0")
	seen := make(map[uint64]bool)
	netlab.Wait(t, late, "both of one name", func(f Found) bool {
		seen[f.Version] = true
		return seen[42] && seen[1000]
	})
}

func TestTwoSegments(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	empty, full := netlab.NewSegment(t, "empty"), netlab.NewSegment(t, "full")
	b := netlab.Start(t, "b", "browse", BrowseOptions{SkipOwn: true})
	empty.Plug(t, b, "eth0")
	full.Plug(t, b, "eth1")
	raise(t, b, "eth0", "eth1")
	a := netlab.Start(t, "a", "announce", announceArgs{Config: someConfig("d")})
	cable := full.Plug(t, a, "eth0")
	raise(t, a, "eth0")
	f := netlab.Wait(t, b, "a node on the second interface", func(Found) bool { return true })
	if f.Interface != "eth1" {
		t.Errorf("found on %s", f.Interface)
	}
	// After a carrier that went and came, a new browser finds it at once.
	cable.Pull(t)
	cable.Restore(t)
	late := netlab.Start(t, "late", "browse", BrowseOptions{})
	full.Plug(t, late, "eth0")
	raise(t, late, "eth0")
	netlab.Wait(t, late, "the node again", func(Found) bool { return true })
}

func TestOneMachineWithLoopbackOnly(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Announce(t.Context(), someConfig("d")); err != nil {
		t.Fatal(err)
	}
	found, err := Browse(t.Context(), BrowseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f := <-found; f.Interface != "lo" || len(f.URLs) != 2 || !f.Source.IsLoopback() {
		t.Errorf("found %+v", f)
	}
}

func TestFindKnowsGoodbyes(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	// One family, and so one socket: of two, nobody knows which is read first.
	if err := netlink.AddrDel(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}}); err != nil {
		t.Fatal(err)
	}
	alone, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	none, err := Finder{}.Find(alone)
	if err != nil {
		t.Fatal(err)
	}
	for a := range none {
		t.Fatalf("alone, found %v", a)
	}
	staying, err := Announce(t.Context(), someConfig("e"))
	if err != nil {
		t.Fatal(err)
	}
	_ = staying
	ctx, leave := context.WithCancel(t.Context())
	leaving, err := Announce(ctx, someConfig("d"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := Browse(t.Context(), BrowseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for f := range found {
		seen[f.Instance] = true
		if len(seen) == 2 {
			break
		}
	}
	b, err := newBrowser(t.Context(), BrowseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan Found)
	done, end := context.WithCancel(t.Context())
	go b.run(done, out)
	for range 2 {
		<-out
	}
	leave()
	<-leaving.Done()
	// The goodbye was sent before Done; the one who stays says something new
	// afterwards, so what comes next was heard after the goodbye.
	if err := staying.SetInstances([]Instance{{"stable", "x86_64", 99}}); err != nil {
		t.Fatal(err)
	}
	if f := <-out; f.Version != 99 {
		t.Fatalf("heard %+v", f)
	}
	end()
	for range out {
	}
	list := b.wanted(time.Now())
	if len(list) != 1 || list[0].Instance != "phase-1a2b3c4e" {
		t.Errorf("after the goodbye: %+v", list)
	}
}

func TestRefusesWhatCannotBeSaid(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no port":        func(c *Config) { c.Port = 0 },
		"no name":        func(c *Config) { c.Name = "" },
		"name with dots": func(c *Config) { c.Name = "a.b" },
		"twice": func(c *Config) {
			c.Instances = append(c.Instances, Instance{"testing", "arm64", 1}, Instance{"testing", "arm64", 2})
		},
		"too many": func(c *Config) { c.Instances = make([]Instance, maxInstances+1) },
	} {
		c := someConfig("d")
		change(&c)
		if err := checkConfig(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := checkConfig(someConfig("d")); err != nil {
		t.Error(err)
	}
	if _, err := parse(make([]byte, maxPacket+1)); err == nil || errors.Is(err, dns.ErrBuf) {
		t.Error(fmt.Errorf("an oversized packet: %w", err))
	}
}
