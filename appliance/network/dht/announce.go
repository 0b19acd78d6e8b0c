package dht

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	kb "github.com/libp2p/go-libp2p-kbucket"
	libp2precord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"phase/appliance/base/names"
	"phase/appliance/release/record"
)

// When what is announced is announced again.
const (
	lookEvery     = 500 * time.Millisecond // whether the table has grown
	putEvery      = time.Hour
	provideEvery  = provideValidity / 3
	growthPause   = 5 * time.Second // between two for growth alone
	announceTime  = time.Minute     // for one, its search included
	announceSpare = 4               // of them at once
	closest       = 20              // peers that hold a record
)

// announced is what the node wants others to find, and how far that got.
type announced struct {
	records map[record.Key]*announcement
	content map[string]map[names.Digest]*announcement // by who wants it
	newest  map[record.Key]record.Record              // of the own fleet, heard from whomever
}

type announcement struct {
	record record.Record // the zero one for content
	at     time.Time     // last
	size   int           // of the routing table then
	busy   bool
}

func newAnnounced() announced {
	return announced{records: map[record.Key]*announcement{}, content: map[string]map[names.Digest]*announcement{}, newest: map[record.Key]record.Record{}}
}

// due says whether it is time: at once when there is a peer, soon again while
// the network grows around the node, and then before others forget.
func (a *announcement) due(size int, every time.Duration, now time.Time) bool {
	since := now.Sub(a.at)
	switch {
	case size == 0 || a.busy:
		return false
	case a.at.IsZero() || since >= every:
		return true
	}
	return size >= 2*a.size && a.size < closest && since >= growthPause
}

// Publish has the records put and kept in the DHT; those of an earlier call
// that are not among them are no longer put.
func (d *DHT) Publish(list ...record.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.want.records
	d.want.records = map[record.Key]*announcement{}
	for _, r := range list {
		if a := old[r.Key()]; a != nil && a.record.Digest() == r.Digest() && record.Compare(a.record, r) == 0 {
			d.want.records[r.Key()] = a
			continue
		}
		d.want.records[r.Key()] = &announcement{record: r}
	}
	d.nudge()
}

// Provide has others told that this node provides content, by digest; of an
// earlier call with the same subject, which is any name, only what is in the
// list again goes on. Others forget the rest within half an hour.
func (d *DHT) Provide(subject string, list ...names.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.want.content[subject]
	next := map[names.Digest]*announcement{}
	for _, digest := range list {
		next[digest] = &announcement{}
		if a := old[digest]; a != nil {
			next[digest] = a
		}
	}
	d.want.content[subject] = next
	d.nudge()
}

func (d *DHT) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run announces until ctx ends.
func (d *DHT) Run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	slots := make(chan struct{}, announceSpare)
	last := 0
	var full refresh
	for {
		if full.due(d.Size(), len(d.config.Host.Network().Peers()), time.Now()) {
			d.fill(ctx)
		}
		d.thin()
		if size := d.Size(); size != last && (size == 0 || last == 0) {
			slog.Info("dht", "event", "routing table", "peers", size)
			last = size
		}
		if !d.config.Client {
			d.announceDue(ctx, slots)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-ticker.C:
		}
	}
}

// announceDue starts what is due and has a slot.
func (d *DHT) announceDue(ctx context.Context, slots chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, size := time.Now(), d.Size()
	start := func(a *announcement, every time.Duration, do func(context.Context) error, what ...any) {
		if !a.due(size, every, now) {
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			return // the next look finds it
		}
		a.busy = true
		d.work.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, announceTime)
			stop := context.AfterFunc(d.behind, cancel)
			err := do(ctx)
			stop()
			cancel()
			<-slots
			d.mu.Lock()
			// Not all at the same moment, for ever.
			a.busy, a.size, a.at = false, size, now.Add(-rand.N(every/8))
			d.mu.Unlock()
			slog.Debug("dht", append([]any{"event", "announced", "took", time.Since(now), "error", err}, what...)...)
			d.nudge()
		})
	}
	for key, a := range d.want.records {
		start(a, putEvery, func(ctx context.Context) error { return d.put(ctx, a.record) }, "key", key.String(), "version", a.record.Version())
	}
	for _, subject := range slices.Sorted(maps.Keys(d.want.content)) {
		for digest, a := range d.want.content[subject] {
			start(a, provideEvery, func(ctx context.Context) error { return d.provide(ctx, digest) }, "content", digest.String())
		}
	}
}

// put gives a record to the closest peers known, at once, and then to the
// closest there are, which takes a search.
func (d *DHT) put(ctx context.Context, r record.Record) error {
	key := r.Key().String()
	value := libp2precord.MakePutRecord(key, r.Value())
	d.nearest(ctx, key, func(ctx context.Context, p peer.ID) { _ = d.ask.PutValue(ctx, p, value) })
	return d.table.PutValue(ctx, key, r.Value())
}

// provide is the same for content.
func (d *DHT) provide(ctx context.Context, digest names.Digest) error {
	id := cidOf(digest)
	self := peer.AddrInfo{ID: d.config.Host.ID(), Addrs: d.config.Host.Addrs()}
	d.nearest(ctx, string(id.Hash()), func(ctx context.Context, p peer.ID) { _ = d.ask.PutProviderAddrs(ctx, p, id.Hash(), self) })
	return d.table.Provide(ctx, id, true)
}

// nearest does something with each of the closest peers of the routing table.
func (d *DHT) nearest(ctx context.Context, key string, do func(context.Context, peer.ID)) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range d.table.RoutingTable().NearestPeers(kb.ConvertKey(key), closest) {
		all.Go(func() { do(ctx, p) })
	}
	all.Wait()
}

// cidOf is content by digest as the DHT names it: CIDv1, raw, sha2-256.
func cidOf(digest names.Digest) cid.Cid {
	hash, _ := multihash.Encode(digest[:], multihash.SHA2_256) // it fails for an unknown function alone
	return cid.NewCidV1(cid.Raw, hash)
}
