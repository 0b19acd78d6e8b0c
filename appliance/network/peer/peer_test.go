package peer

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/identity"
)

// loopback listens where only this machine is, by QUIC and by TCP.
var loopback = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}

// start opens a node and runs it until the test ends.
func start(t *testing.T, c Config) *Node {
	t.Helper()
	if !c.Identity.Valid() {
		c.Identity, _ = identity.Ephemeral(rand.Reader)
	}
	n, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		n.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		n.Close()
	})
	return n
}

// connected waits until a node is connected to another.
func connected(t *testing.T, n *Node, to peer.ID) {
	t.Helper()
	news, err := n.Host().EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
	if err != nil {
		t.Fatal(err)
	}
	defer news.Close()
	for n.Host().Network().Connectedness(to) != network.Connected {
		select {
		case <-news.Out():
		case <-t.Context().Done():
			t.Fatal("it is not connected")
		}
	}
}

func TestBootstrap(t *testing.T) {
	for _, kind := range []string{"/quic-v1/", "/tcp/"} {
		a := start(t, Config{Listen: loopback})
		remember := filepath.Join(t.TempDir(), "peers.json")
		address := a.Addresses()[slices.IndexFunc(a.Addresses(), func(s string) bool { return strings.Contains(s, kind) })]
		b := start(t, Config{Listen: loopback, Bootstrap: []string{address}, Remember: remember})
		connected(t, b, a.Host().ID())
		list := b.Peers()
		if len(list) != 1 || list[0].Peer != a.Host().ID().String() || list[0].Path != Direct || list[0].Direction != "outbound" {
			t.Errorf("%s: peers are %+v", kind, list)
		}
		b.keeper.save()
		c := start(t, Config{Listen: loopback, Remember: remember})
		connected(t, c, a.Host().ID())
	}
}

// Where another program listens, the error says what to do.
func TestListenTaken(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for _, address := range []string{
		fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", udp.LocalAddr().(*net.UDPAddr).Port),
		fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", tcp.Addr().(*net.TCPAddr).Port),
	} {
		id, _ := identity.Ephemeral(rand.Reader)
		n, err := Open(Config{Identity: id, Listen: []string{address}})
		if err == nil {
			n.Close()
		}
		if want := "listening on " + address + ": another program listens there; stop it"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A peer id is proved: who answers in its place is not connected to.
func TestOtherPeerID(t *testing.T) {
	a := start(t, Config{Listen: loopback})
	other, _ := identity.Ephemeral(rand.Reader)
	b := start(t, Config{})
	address, _, _ := strings.Cut(a.Addresses()[0], "/p2p/")
	info, err := ParseAddress(address + "/p2p/" + other.PeerID())
	if err != nil {
		t.Fatal(err)
	}
	err = b.Connect(t.Context(), info)
	if err == nil || !strings.Contains(err.Error(), other.PeerID()) || len(b.Peers()) != 0 {
		t.Errorf("connected to %v, %v", b.Peers(), err)
	}
}

func TestBlocked(t *testing.T) {
	id, _ := identity.Ephemeral(rand.Reader)
	a := start(t, Config{Listen: loopback, Block: []string{id.PeerID()}})
	b := start(t, Config{Listen: loopback, Identity: id})
	info, _ := ParseAddress(a.Addresses()[0])
	if err := b.Connect(t.Context(), info); err == nil {
		// The connection is taken, and ended once the id is known.
		news, _ := b.Host().EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
		defer news.Close()
		for b.Host().Network().Connectedness(info.ID) == network.Connected {
			<-news.Out()
		}
	}
	info, _ = ParseAddress(b.Addresses()[0])
	if err := a.Connect(t.Context(), info); err == nil {
		t.Error("a peer that is blocked was dialled")
	}
}

func TestRefusedAddresses(t *testing.T) {
	id, _ := identity.Ephemeral(rand.Reader)
	for _, c := range []Config{
		{Bootstrap: []string{"192.0.2.1:7420"}},
		{Bootstrap: []string{"/ip4/192.0.2.1/udp/7420/quic-v1"}},
		{Peers: []string{"/p2p/" + id.PeerID()}},
		{Peers: []string{"/ip4/192.0.2.1/tcp/1/p2p/12D3KooW"}},
		{Listen: []string{"/ip4/127.0.0.1"}},
		{Listen: []string{"/ip4/192.0.2.1/tcp/1"}}, // is not ours
		{Block: []string{"nobody"}},
		{Identity: identity.Identity{}},
	} {
		if c.Bootstrap != nil || c.Peers != nil || c.Listen != nil || c.Block != nil {
			c.Identity = id
		}
		n, err := Open(c)
		if err == nil {
			n.Close()
			t.Errorf("%+v was taken", c)
			continue
		}
		t.Log(err)
	}
}

func FuzzParseAddress(f *testing.F) {
	id, _ := identity.Ephemeral(rand.Reader)
	f.Add("/ip4/192.0.2.1/udp/7420/quic-v1/p2p/" + id.PeerID())
	f.Add("/dns4/phase.example/tcp/7420/p2p/" + id.PeerID())
	f.Add("/p2p-circuit")
	f.Fuzz(func(t *testing.T, text string) {
		info, err := ParseAddress(text)
		if err != nil {
			return
		}
		if _, err := ID(info.ID.String()); err != nil || len(info.Addrs) == 0 {
			t.Errorf("%q was taken as %v", text, info)
		}
	})
}

// The default port that is taken is no reason to be without a network.
func TestDefaultPort(t *testing.T) {
	home := netip.MustParseAddr("127.0.0.1")
	a := start(t, Config{Bind: home})
	b := start(t, Config{Bind: home})
	if a.Port() == 0 || b.Port() == 0 || a.Port() == b.Port() || b.Port() == DefaultPort {
		t.Errorf("they listen on %d and %d", a.Port(), b.Port())
	}
	for _, address := range b.Addresses() { // others are told of one port alone
		if !strings.Contains(address, fmt.Sprintf("/%d", b.Port())) {
			t.Errorf("it listens on %s, and says %d", address, b.Port())
		}
	}
	info, _ := ParseAddress(b.Addresses()[0])
	if err := a.Connect(t.Context(), info); err != nil {
		t.Error(err)
	}
	if none := start(t, Config{}); none.Port() != 0 || len(none.Addresses()) != 0 {
		t.Errorf("it listens on %v", none.Addresses())
	}
}
