package benchnet

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/network/dht"
	"phase/appliance/network/peer"
	"phase/appliance/release/record"
	"phase/tests/await"
	"phase/tests/storetest"
)

// tables is how many nodes of the DHT there are beside the one that asks.
const tables = 4

// table starts a node of the DHT that knows others. One that only asks holds
// nothing, so what it finds it finds at another.
func table(b *testing.B, listen string, asks bool, known ...string) (*peer.Node, *dht.DHT) {
	b.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	n, err := peer.Open(peer.Config{Identity: id, Listen: []string{listen}, Peers: known})
	if err != nil {
		b.Fatal(err)
	}
	d, err := dht.Open(dht.Config{Host: n.Host(), Client: asks})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { n.Run(ctx) })
	all.Go(func() { d.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		all.Wait()
		if err := d.Close(); err != nil {
			b.Error(err)
		}
		n.Close()
	})
	return n, d
}

// eachTable runs a measurement in a small DHT over each transport, in which a
// record is published and something provided.
func eachTable(b *testing.B, find func(asking *dht.DHT, key record.Key, provided string) bool) {
	signer := storetest.NewSigner(b)
	release := signer.Release(b, "stable", "x86_64", 1, map[string]int{"kernel": 10, "initramfs": 11, "rootfs": 12})
	rec, err := record.Make(signer.Chain, release.Envelope(), time.Now())
	if err != nil {
		b.Fatal(err)
	}
	const provided = "phase-cap/1/x86_64/c1/m64"
	for _, name := range []string{"quic", "tcp"} {
		first, d := table(b, transports[name], false)
		for range tables - 1 {
			_, d = table(b, transports[name], false, first.Addresses()[0])
		}
		d.Publish(rec)
		d.Provide("bench", dht.Bucket(provided))
		_, asking := table(b, transports[name], true, first.Addresses()[0])
		if err := await.Until(b.Context(), func() bool { return asking.Size() == tables && find(asking, rec.Key(), provided) }); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			var all laps
			for b.Loop() {
				all.time(func() {
					if !find(asking, rec.Key(), provided) {
						b.Error("it is not found")
					}
				})
			}
			all.report(b)
		})
	}
}

// BenchmarkRecord searches for a record until its first value.
func BenchmarkRecord(b *testing.B) {
	eachTable(b, func(asking *dht.DHT, key record.Key, _ string) bool {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		_, ok := <-asking.Search(ctx, key)
		return ok
	})
}

// BenchmarkProvider searches for who provides something until the first answer.
func BenchmarkProvider(b *testing.B) {
	eachTable(b, func(asking *dht.DHT, _ record.Key, provided string) bool {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		_, ok := <-asking.Providers(ctx, dht.Bucket(provided))
		return ok
	})
}
