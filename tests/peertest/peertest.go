// Package peertest starts nodes on the loopback interface for tests: a host each,
// with its part of the DHT and the releases it holds.
package peertest

import (
	"context"
	"crypto/rand"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/network/dht"
	"phase/appliance/network/peer"
	"phase/appliance/network/releases"
	"phase/appliance/release/provide"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// Node is a host with its DHT and its releases.
type Node struct {
	*peer.Node
	*releases.Releases
	DHT   *dht.DHT
	Store *store.Store // nil when nothing was to be held
}

// ID is its peer id.
func (n Node) ID() string { return n.Host().ID().String() }

// Config is what a node has, and how it hands it on.
type Config struct {
	Roots chain.Chain
	Held  []storetest.Release
	Ports []uint16 // where it says it serves HTTP
	Known []Node   // peers it knows of
	Still bool     // publishes nothing
}

// Start starts a node, which is stopped at the end of the test.
func Start(t testing.TB, c Config) Node {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var peers []string
	for _, k := range c.Known {
		peers = append(peers, k.Addresses()...)
	}
	p, err := peer.Open(peer.Config{Identity: id, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, Peers: peers, OnLink: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dht.Open(dht.Config{Host: p.Host(), Fleet: c.Roots.Fleet()})
	if err != nil {
		t.Fatal(err)
	}
	n := Node{Node: p, DHT: d, Store: hold(t, c)}
	n.Releases = releases.Open(releases.Config{Host: p.Host(), DHT: d, Roots: c.Roots, Store: n.Store, Ports: func() []uint16 { return c.Ports }})
	n.run(t, c.Still)
	return n
}

func hold(t testing.TB, c Config) *store.Store {
	t.Helper()
	if c.Held == nil {
		return nil
	}
	held := store.New()
	for _, root := range c.Roots.Roots() {
		held.AddRoot(root)
	}
	for _, r := range c.Held {
		if err := held.Add(context.Background(), r.Verified, r.Sources()); err != nil {
			t.Fatal(err)
		}
	}
	return held
}

func (n Node) run(t testing.TB, still bool) {
	ctx, cancel := context.WithCancel(context.Background())
	runs := []func(context.Context){n.Node.Run, n.DHT.Run}
	if !still {
		runs = append(runs, n.Releases.Run)
	}
	if n.Store != nil {
		handler := provide.Handler(provide.Config{Store: n.Store, Channel: "stable", Arch: "x86_64"})
		runs = append(runs, func(ctx context.Context) {
			if err := releases.Serve(ctx, n.Host(), handler); err != nil {
				t.Error(err)
			}
		})
	}
	ended := make(chan struct{}, len(runs))
	for _, run := range runs {
		go func() { run(ctx); ended <- struct{}{} }()
	}
	t.Cleanup(func() {
		cancel()
		for range runs {
			<-ended
		}
		if err := n.DHT.Close(); err != nil {
			t.Error(err)
		}
		n.Node.Close()
	})
}
