package dht_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/network/dht"
	"phase/appliance/network/peer"
	"phase/appliance/release/record"
	"phase/tests/storetest"
)

// node is a host on the loopback interface and its part of the DHT.
type node struct {
	*peer.Node
	*dht.DHT
	close func()
}

func (n node) address() string { return n.Addresses()[0] }

// join starts a node that knows the addresses given.
func join(t testing.TB, fleet string, client bool, others ...string) node {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.Open(peer.Config{Identity: id, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, Peers: others, OnLink: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dht.Open(dht.Config{Host: p.Host(), Fleet: fleet, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { p.Run(ctx); ended <- struct{}{} }()
	go func() { d.Run(ctx); ended <- struct{}{} }()
	n := node{Node: p, DHT: d}
	n.close = sync.OnceFunc(func() {
		cancel()
		<-ended
		<-ended
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	t.Cleanup(n.close)
	return n
}

// ring is a network of nodes that all know the first, and each the one before
// it; fleets are by node, the last for the rest.
func ring(t testing.TB, size int, fleets ...string) []node {
	t.Helper()
	nodes := []node{join(t, fleets[0], false)}
	for i := 1; i < size; i++ {
		nodes = append(nodes, join(t, fleets[min(i, len(fleets)-1)], false, nodes[0].address(), nodes[i-1].address()))
	}
	for _, n := range nodes {
		until(t, "a routing table", func() bool { return n.Size() >= min(2, size-1) })
	}
	return nodes
}

func made(t testing.TB, s *storetest.Signer, channel string, version uint64) record.Record {
	t.Helper()
	r, err := record.Make(s.Chain, s.Release(t, channel, "x86_64", version, map[string]int{"kernel": 10, "initramfs": 11, "rootfs": 12}).Envelope(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found waits until a node finds a record of that version.
func found(t testing.TB, n node, want record.Record) {
	t.Helper()
	until(t, "the record", func() bool {
		r, err := n.Best(t.Context(), want.Key())
		return err == nil && r.Digest() == want.Digest()
	})
}

// What one node publishes all find, those who only ask too, and a newer one
// replaces it everywhere; who provides is found by content.
func TestPublishAndProvide(t *testing.T) {
	signer := storetest.NewSigner(t)
	nodes := ring(t, 5, signer.Chain.Fleet())
	old, young := made(t, signer, "stable", 1), made(t, signer, "stable", 2)
	nodes[4].Publish(old)
	asker := join(t, "", true, nodes[0].address())
	for _, n := range append(nodes, asker) {
		found(t, n, old)
	}
	nodes[4].Publish(young)
	nodes[3].Provide("artifacts", young.Artifacts()["rootfs"].SHA256)
	nodes[2].Provide("capabilities", dht.Bucket("phase-cap/1/x86_64/c2/m512"))
	for _, n := range append(nodes, asker) {
		found(t, n, young)
	}
	provides := func(n node, digest names.Digest, want node) {
		until(t, "the provider", func() bool {
			for p := range n.Providers(t.Context(), digest) {
				if p.ID == want.Host().ID() && len(p.Addrs) > 0 {
					return true
				}
			}
			return false
		})
	}
	provides(asker, young.Artifacts()["rootfs"].SHA256, nodes[3])
	provides(nodes[0], dht.Bucket("phase-cap/1/x86_64/c2/m512"), nodes[2])
	if none, err := nodes[0].Best(t.Context(), record.Key{Fleet: signer.Chain.Fleet(), Channel: "nightly", Arch: "arm64"}); err == nil {
		t.Errorf("found version %d of what nobody published", none.Version())
	}
	if got := asker.Stats().Records; got != 0 {
		t.Errorf("one that only asks holds %d records", got)
	}
}

// A node that others began with is gone, and nobody needs it any more.
func TestBootstrapDies(t *testing.T) {
	signer := storetest.NewSigner(t)
	nodes := ring(t, 8, signer.Chain.Fleet())
	r := made(t, signer, "stable", 3)
	nodes[7].Publish(r)
	for _, n := range nodes {
		found(t, n, r)
	}
	// With a goodbye here; without one in tests/network.
	nodes[0].close()
	next := made(t, signer, "testing", 4)
	nodes[6].Publish(next)
	for _, n := range nodes[1:] {
		found(t, n, r)
		found(t, n, next)
	}
	late := join(t, "", false, nodes[1].address())
	found(t, late, next)
}

// TestRefused: what its fleet did not sign, what is old, large or malformed, no
// node takes, whoever it is of, and what was held stays.
func TestRefused(t *testing.T) {
	ours, theirs := storetest.NewSigner(t), storetest.NewSigner(t)
	nodes := ring(t, 4, ours.Chain.Fleet(), theirs.Chain.Fleet())
	good := made(t, theirs, "stable", 5)
	nodes[1].Publish(good)
	for _, n := range nodes {
		found(t, n, good)
	}
	hostile := newHostile(t, nodes)
	key := good.Key().String()
	forged := made(t, ours, "stable", 99)
	old := made(t, theirs, "stable", 4)
	oversized := append(good.Value(), bytes.Repeat([]byte(" "), record.MaxBytes)...)
	for what, value := range map[string][]byte{
		"forged": forged.Value(), "old": old.Value(), "malformed": []byte(`{"roots":[`), "empty": nil, "oversized": oversized,
		"damaged": bytes.Replace(good.Value(), []byte(`"sig":"`), []byte(`"sig":"AAAA`), 1),
	} {
		for i, n := range nodes {
			if err := hostile.put(n, key, value); err == nil {
				t.Errorf("node %d took a record that is %s", i, what)
			}
		}
	}
	for i, n := range nodes {
		if err := hostile.put(n, "/other/key", good.Value()); err == nil {
			t.Errorf("node %d took a key of no record", i)
		}
		if got, err := n.Best(t.Context(), good.Key()); err != nil || got.Digest() != good.Digest() {
			t.Errorf("node %d now finds version %d, %v", i, got.Version(), err)
		}
		refused := n.Stats().Refused
		for _, code := range []string{"signature", "format"} {
			if fmt.Sprint(refused) == "map[]" || !bytes.Contains([]byte(fmt.Sprint(refused)), []byte(code)) {
				t.Errorf("node %d counts %v refused, and none for its %s", i, refused, code)
			}
		}
	}
}

// Two fleets in one DHT of 20 nodes find what is theirs, and a thousand fleets
// that someone made up push out neither.
func TestTwoFleets(t *testing.T) {
	if testing.Short() {
		t.Skip("20 nodes")
	}
	ours, theirs := storetest.NewSigner(t), storetest.NewSigner(t)
	o, h := ours.Chain.Fleet(), theirs.Chain.Fleet()
	nodes := ring(t, 20, o, h, h, o, h, h, h, o, h)
	a, b := made(t, ours, "stable", 10), made(t, theirs, "stable", 20)
	nodes[0].Publish(a)
	nodes[1].Publish(b)
	for _, n := range nodes {
		found(t, n, a)
		found(t, n, b)
	}
	hostile := newHostile(t, nodes[:3])
	for i := range 1000 {
		r := made(t, storetest.NewSigner(t), "stable", uint64(i)+1)
		for _, n := range nodes[:3] {
			_ = hostile.put(n, r.Key().String(), r.Value())
		}
	}
	for i, n := range nodes {
		if s := n.Stats(); s.Records > 300 || s.RecordBytes > 5<<20 {
			t.Errorf("node %d holds %+v", i, s)
		}
		found(t, n, a)
		found(t, n, b)
	}
}

// A node that is connected to peers of another kind says so.
func TestProblem(t *testing.T) {
	alone := join(t, "", false)
	if alone.Problem() != "" || alone.Size() != 0 {
		t.Errorf("alone: %q", alone.Problem())
	}
	asker := join(t, "", true, alone.address())
	until(t, "a connection", func() bool {
		return alone.Host().Network().Connectedness(asker.Host().ID()) == network.Connected
	})
	until(t, "a problem", func() bool { return alone.Problem() != "" })
	if err := asker.Reach(t.Context(), libp2ppeer.AddrInfo{ID: alone.Host().ID()}); err != nil {
		t.Error(err)
	}
}
