package lan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"phase/appliance/release/survey"
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
	slog.SetDefault(slog.New(slog.NewTextHandler(&lineSayer{say}, nil)))
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
	var o Finder
	if err := json.Unmarshal(args, &o); err != nil {
		return err
	}
	found, err := o.Find(ctx)
	if err != nil {
		return err
	}
	for f := range found {
		say(f)
	}
	return nil
}

func someConfig(last string) Config {
	return Config{Name: "phase-1a2b3c4" + last, Port: 8080, Peer: "12D3KooWpeer" + last,
		Instances: []Instance{{"stable", "x86_64", 42}}}
}

func hasFamily(f survey.Announcement, v6 bool) bool {
	return slices.ContainsFunc(f.URLs, func(u string) bool { return strings.HasPrefix(u, "http://[") == v6 })
}

func TestFoundOverLinkLocalIPv6Alone(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	a := netlab.Start(t, "a", "announce", announceArgs{Config: someConfig("d")})
	b := netlab.Start(t, "b", "browse", Finder{SkipOwn: true})
	s.Plug(t, a, "eth0")
	s.Plug(t, b, "wire")
	b.Raise(t, "wire")
	a.Raise(t, "eth0")
	f := netlab.Wait(t, b, "the other node", func(f survey.Announcement) bool { return true })
	if f.Name != "phase-1a2b3c4d" || f.Channel != "stable" || f.Arch != "x86_64" ||
		f.Version != 42 || f.Peer != "12D3KooWpeerd" || f.Interface != "wire" {
		t.Errorf("found %+v", f)
	}
	if len(f.URLs) != 1 || !strings.HasPrefix(f.URLs[0], "http://[fe80::") || !strings.HasSuffix(f.URLs[0], "%25wire]:8080") {
		t.Errorf("URLs %q, want the link-local one with this side's zone", f.URLs)
	}
	// Addresses that come later are announced anew, on-link ones only.
	b.AddAddress(t, "wire", "192.0.2.2/24")
	a.AddAddress(t, "eth0", "192.0.2.1/24")
	a.AddAddress(t, "eth0", "198.51.100.1/24")
	f = netlab.Wait(t, b, "its IPv4 address", func(f survey.Announcement) bool { return hasFamily(f, false) })
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
	b := netlab.Start(t, "b", "browse", Finder{})
	for n, addr := range map[*netlab.Node]string{a: "169.254.7.1/16", b: "169.254.7.2/16"} {
		s.Plug(t, n, "eth0")
		n.Do(t, func() {
			// Without IPv6 on the interface there is nothing else to be found by.
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("1"), 0o644); err != nil {
				t.Skipf("IPv6 cannot be turned off: %v", err)
			}
		})
		n.AddAddress(t, "eth0", addr)
		n.Raise(t, "eth0")
	}
	f := netlab.Wait(t, b, "the other node", func(survey.Announcement) bool { return true })
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
	b := netlab.Start(t, "b", "browse", Finder{})
	for _, n := range []*netlab.Node{a, b} {
		s.Plug(t, n, "eth0")
		n.Raise(t, "eth0")
	}
	netlab.Wait(t, b, "version 42", func(f survey.Announcement) bool { return f.Version == 42 })
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	seen := make(map[string]uint64)
	netlab.Wait(t, b, "both of the new release lines", func(f survey.Announcement) bool {
		seen[f.Name+" "+f.Channel+" "+f.Arch] = f.Version
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
	b := netlab.Start(t, "b", "browse", Finder{})
	s.Plug(t, b, "eth0")
	b.Raise(t, "eth0")
	c := netlab.Start(t, "stranger", "announce", announceArgs{Config: stranger})
	s.Plug(t, c, "eth0")
	c.Raise(t, "eth0")
	forged := netlab.Wait(t, b, "the stranger", func(f survey.Announcement) bool { return f.Version == 1000 })
	a := netlab.Start(t, "honest", "announce", announceArgs{Config: someConfig("d")})
	s.Plug(t, a, "eth0")
	a.Raise(t, "eth0")
	honest := netlab.Wait(t, b, "the honest node", func(f survey.Announcement) bool { return f.Version == 42 })
	if honest.Source == forged.Source || slices.Equal(honest.URLs, forged.URLs) || len(honest.URLs) != 1 {
		t.Errorf("the two are mixed: %+v and %+v", honest, forged)
	}
	netlab.Wait(t, a, "a warning of the stranger", func(line string) bool {
		return strings.Contains(line, "stranger") && strings.Contains(line, strings.TrimSuffix(forged.Source, "%eth0"))
	})
	// A browser that comes later hears both, though each was asked once.
	late := netlab.Start(t, "late", "browse", Finder{})
	s.Plug(t, late, "eth0")
	late.Raise(t, "eth0")
	seen := make(map[uint64]bool)
	netlab.Wait(t, late, "both of one name", func(f survey.Announcement) bool {
		seen[f.Version] = true
		return seen[42] && seen[1000]
	})
}

func TestTwoSegments(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	empty, full := netlab.NewSegment(t, "empty"), netlab.NewSegment(t, "full")
	b := netlab.Start(t, "b", "browse", Finder{SkipOwn: true})
	empty.Plug(t, b, "eth0")
	full.Plug(t, b, "eth1")
	b.Raise(t, "eth0", "eth1")
	a := netlab.Start(t, "a", "announce", announceArgs{Config: someConfig("d")})
	cable := full.Plug(t, a, "eth0")
	a.Raise(t, "eth0")
	f := netlab.Wait(t, b, "a node on the second interface", func(survey.Announcement) bool { return true })
	if f.Interface != "eth1" {
		t.Errorf("found on %s", f.Interface)
	}
	// After a carrier that went and came, a new browser finds it at once.
	cable.Pull(t)
	cable.Restore(t)
	late := netlab.Start(t, "late", "browse", Finder{})
	full.Plug(t, late, "eth0")
	late.Raise(t, "eth0")
	netlab.Wait(t, late, "the node again", func(survey.Announcement) bool { return true })
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
