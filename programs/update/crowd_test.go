package update

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/link"
	"phase/appliance/network/lan"
	"phase/appliance/release/fetch"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
	"phase/appliance/release/update"
	"phase/tests/netlab"
	"phase/tests/storetest"
)

func TestMain(m *testing.M) {
	confinedMain(m)
	netlab.Main(m, map[string]netlab.Role{"crowd": crowdRole, "honest": honestRole, "node": nodeRole})
}

// crowd is a machine that seems to be many: it announces from each of its
// addresses, for ever, and a client that asks it waits for ever.
type crowd struct {
	Addresses int
	Names     int  // announced by each address
	Anew      bool // names and versions never come twice
}

func crowdRole(ctx context.Context, args []byte, say func(any)) error {
	var c crowd
	if err := json.Unmarshal(args, &c); err != nil {
		return err
	}
	var addrs []netip.Addr
	for i := range c.Addresses {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 9, byte(1 + i/250), byte(1 + i%250)}))
	}
	if err := wire(ctx, addrs...); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", ":8080")
	if err != nil {
		return err
	}
	var asked atomic.Int64
	go func() {
		var kept []net.Conn // accepted, and never answered
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			kept = append(kept, conn)
			asked.Store(int64(len(kept)))
		}
	}()
	var conns []net.PacketConn
	for _, a := range addrs {
		conn, err := multicaster(a)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	for round := 0; ctx.Err() == nil; round++ {
		for i, conn := range conns {
			for j := range c.Names {
				name, version := fmt.Sprintf("phase-%04d%04d", i, j), uint64(1<<53-1)
				if c.Anew {
					name, version = fmt.Sprintf("%s-%d", name, round), version-uint64(round)
				}
				if _, err := conn.WriteTo(announcement(name, addrs[i], version), group); err != nil && ctx.Err() == nil {
					return err
				}
			}
		}
		if round == 0 {
			say("everybody was announced")
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil
}

// wire waits until eth0 is plugged in, raises it and gives it addresses of
// 10.9.0.0/16.
func wire(ctx context.Context, addrs ...netip.Addr) error {
	changed, err := link.Watch(ctx)
	if err != nil {
		return err
	}
	for {
		if l, err := netlink.LinkByName("eth0"); err == nil {
			err = netlink.LinkSetUp(l)
			for _, a := range addrs {
				err = errors.Join(err, netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(16, 32)}}))
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// multicaster sends from one address and the port of multicast DNS.
func multicaster(a netip.Addr) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			if failed == nil {
				failed = unix.SetsockoptInet4Addr(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, a.As4())
			}
		})
		if err != nil {
			return err
		}
		return failed
	}}
	return lc.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(a, 5353).String())
}

// announcement is a multicast DNS answer (RFC 1035, section 4; RFC 6762), as
// short as it can be.
func announcement(name string, a netip.Addr, version uint64) []byte {
	service := "_phase-image._tcp.local"
	domain := func(text string) (b []byte) {
		for label := range strings.SplitSeq(text, ".") {
			b = append(append(b, byte(len(label))), label...)
		}
		return append(b, 0)
	}
	msg := []byte{0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0}
	record := func(owner string, kind uint16, data []byte) {
		msg = append(msg, domain(owner)...)
		msg = binary.BigEndian.AppendUint16(msg, kind)
		msg = binary.BigEndian.AppendUint16(msg, 1)
		msg = binary.BigEndian.AppendUint32(msg, 120)
		msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
		msg = append(msg, data...)
	}
	var text []byte
	for _, s := range []string{"channel=stable", "arch=x86_64", "version=" + strconv.FormatUint(version, 10)} {
		text = append(append(text, byte(len(s))), s...)
	}
	record(service, 12, domain(name+"."+service))
	record(name+"."+service, 33, append([]byte{0, 0, 0, 0, 8080 >> 8, 8080 & 0xff}, domain(name+".local")...))
	record(name+"."+service, 16, text)
	record(name+".local", 1, a.AsSlice())
	return msg
}

// honestArgs is what the honest node serves.
type honestArgs struct {
	Manifest []byte
	Version  uint64
}

func honestRole(ctx context.Context, args []byte, say func(any)) error {
	var a honestArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	if err := wire(ctx, netip.AddrFrom4([4]byte{10, 9, 0, 1})); err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", ":8080")
	if err != nil {
		return err
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(a.Manifest) }))
	announcer, err := lan.Announce(ctx, lan.Config{Name: "phase-1a2b3c4d", Port: 8080, Peer: "12D3KooWhonest",
		Instances: []lan.Instance{{Channel: "stable", Arch: "x86_64", Version: a.Version}}})
	if err != nil {
		return err
	}
	<-announcer.Done()
	return nil
}

// nodeArgs is the node that looks for a release.
type nodeArgs struct{ Root, Running []byte }

// nodeRole is the loop of this program, but for the download. It says how many
// others it had asked when it took a release.
func nodeRole(ctx context.Context, args []byte, say func(any)) error {
	var a nodeArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	root, err := trust.ParseRoot(a.Root)
	if err != nil {
		return err
	}
	running, err := root.VerifyHeld(a.Running, "stable", "x86_64")
	if err != nil {
		return err
	}
	if err := wire(ctx, netip.AddrFrom4([4]byte{10, 9, 0, 2})); err != nil {
		return err
	}
	client := fetch.NewClient()
	var asked atomic.Int64
	return update.Updater{
		Root: func() trust.Root { return root }, Running: running, Channel: "stable", Arch: "x86_64",
		Finders: []survey.Finder{lan.Finder{Channel: "stable", Arch: "x86_64", SkipOwn: true, Again: heardAgain}},
		Failed:  func(names.Digest) bool { return false },
		Now:     time.Now,
		Ask: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			if asked.Add(1) == crowdAsked {
				say("busy with the crowd")
			}
			return fetch.Manifest(ctx, client, url, channel, arch)
		},
		Ready: func(context.Context, trust.Verified) error { return nil },
		Fetch: func(_ context.Context, v trust.Verified, _ []string) (update.Payload, fetch.Report, error) {
			say(fmt.Sprintf("took version %d after %d questions", v.Manifest().Version, asked.Load()))
			return nil, fetch.Report{}, errors.New("this is as far as the test goes")
		},
		Jump:   func(context.Context, trust.Verified) error { return nil },
		Report: func(statefile.Update) {},
	}.Run(ctx)
}

// crowdAsked is how many of the crowd a node has asked before the honest one
// comes: more than it asks at once of strangers it has not heard before.
const crowdAsked = 4

// TestCrowdOnTheWire: strangers who were there before the honest node, never
// stop announcing and never answer do not keep a node from the honest one. That
// is bounded by what a test waits for; to ask each of the larger crowds before
// it, a few at a time and ten seconds each, would take longer.
func TestCrowdOnTheWire(t *testing.T) {
	if testing.Short() {
		t.Skip("a crowd of processes, which takes minutes under the race detector")
	}
	if !netlab.Isolated(t) {
		return
	}
	signer := storetest.NewSigner(t)
	sign := func(version uint64) []byte {
		return signer.Release(t, "stable", "x86_64", version, storetest.Sizes).Verified.Envelope()
	}
	for i, c := range []crowd{
		{Addresses: 20, Names: 1},
		{Addresses: 600, Names: 1},
		{Addresses: 250, Names: 1, Anew: true},
		{Addresses: 1, Names: 300},
		{Addresses: 1, Names: 32, Anew: true},
		{Addresses: 25, Names: 8, Anew: true},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			s := netlab.NewSegment(t, fmt.Sprint("sw", i))
			node := netlab.Start(t, "node", "node", nodeArgs{signer.Root.Raw(), sign(1)})
			s.Plug(t, node, "eth0")
			strangers := netlab.Start(t, "crowd", "crowd", c)
			s.Plug(t, strangers, "eth0")
			netlab.Wait(t, strangers, "the crowd", func(string) bool { return true })
			netlab.Wait(t, node, "questions to the crowd", func(said string) bool { return strings.HasPrefix(said, "busy") })
			honest := netlab.Start(t, "honest", "honest", honestArgs{sign(2), 2})
			s.Plug(t, honest, "eth0")
			t.Log(netlab.Wait(t, node, "the honest node's release", func(said string) bool { return strings.HasPrefix(said, "took version 2 ") }))
		})
	}
}
