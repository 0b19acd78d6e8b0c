// Package releases lets nodes find each other's releases beyond their own
// network segment, and hands them on to peers that no HTTP address of theirs
// reaches. What a node holds is published in the DHT as a record that proves
// itself (package record), answered to peers that ask directly, even before
// the DHT has it, and served over libp2p streams as it is over HTTP.
package releases

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/names"
	"phase/appliance/network/bounds"
	"phase/appliance/network/dht"
	"phase/appliance/release/fetch"
	"phase/appliance/release/record"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/store"
)

// Config is what a node holds, trusts and serves.
type Config struct {
	Host host.Host
	DHT  *dht.DHT
	// Roots are those the node trusts, from version 1 on: they name its fleet.
	// With the zero Chain nothing is published, answered or found.
	Roots chain.Chain
	// Store has the releases that are held; nil for a node that only looks.
	Store *store.Store
	// Ports are where the node serves its releases by HTTP to others; nil or an
	// empty list for a node that none can reach so.
	Ports func() []uint16
	// Now is the time that expiry is judged by; nil is time.Now.
	Now func() time.Time
}

// Releases is a node's releases among its peers. It is safe for concurrent use.
type Releases struct {
	config    Config
	streams   *bounds.Bounds[peer.ID]
	transport http.RoundTripper
	ended     chan struct{} // closed at the end of Run
	rooted    chan struct{} // has a value when there is a new root

	mu    sync.Mutex
	roots chain.Chain // the longest known that begins as Config.Roots
	held  map[record.Key]record.Record
	told  map[names.Digest]bool // releases that could not be published, and why was said
}

// Open begins to answer peers that ask; publishing begins with Run.
func Open(c Config) *Releases {
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Releases{
		config: c, streams: bounds.New[peer.ID](maxAsking, askOfPeer), ended: make(chan struct{}), rooted: make(chan struct{}, 1),
		roots: c.Roots, held: map[record.Key]record.Record{}, told: map[names.Digest]bool{},
	}
	r.transport = fetch.NewClient(r.Way()).Transport
	if c.Store != nil && c.Roots.Fleet() != "" {
		r.look()
		c.Host.SetStreamHandler(ManifestProtocol, r.handle)
	}
	return r
}

// Run publishes what is held, whenever that changes, until ctx ends. Then
// nothing more is found either. It is called once.
func (r *Releases) Run(ctx context.Context) {
	defer close(r.ended)
	if r.config.Store == nil || r.config.Roots.Fleet() == "" {
		<-ctx.Done()
		return
	}
	for {
		changed := r.config.Store.Changed()
		list, artifacts := r.look()
		r.config.DHT.Publish(list...)
		r.config.DHT.Provide("artifacts", artifacts...)
		select {
		case <-ctx.Done():
			r.config.Host.RemoveStreamHandler(ManifestProtocol)
			return
		case <-changed:
		case <-r.rooted:
		}
	}
}

// look makes records of what the store holds, and lists its artifacts.
func (r *Releases) look() (list []record.Record, artifacts []names.Digest) {
	held := map[record.Key]record.Record{}
	roots := r.trusted()
	for _, release := range r.config.Store.Latest() {
		rec, err := makeRecord(roots, []byte(release.Envelope().Data), r.config.Now())
		if err != nil {
			r.complain(release, err)
			continue
		}
		held[rec.Key()] = rec
		list = append(list, rec)
	}
	seen := map[names.Digest]bool{}
	for _, release := range r.config.Store.Releases() {
		for name, a := range release.Manifest().Artifacts {
			if _, ok := release.Artifact(name); ok && !seen[a.SHA256] {
				seen[a.SHA256] = true
				artifacts = append(artifacts, a.SHA256)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	return list, artifacts
}

// trusted is the longest chain of roots known: the one that is trusted, and
// what follows it in the store and in the records of others.
func (r *Releases) trusted() chain.Chain {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.config.Store != nil {
		next, ok := r.config.Store.Root(r.roots.Last().Version() + 1)
		if !ok {
			break
		}
		longer, err := r.roots.Append([]byte(next.Data))
		if err != nil {
			slog.Warn("releases", "event", "a root that does not follow is left out", "version", r.roots.Last().Version()+1, "reason", err.Error())
			break
		}
		r.roots = longer
	}
	return r.roots
}

// learn takes a chain that continues the one known, from a record that proved
// itself, and has it served too: others come to the same root sooner.
func (r *Releases) learn(c chain.Chain) {
	r.mu.Lock()
	defer r.mu.Unlock()
	longer, err := r.roots.Join(c)
	if err != nil || longer.Last().Version() == r.roots.Last().Version() {
		return
	}
	slog.Info("releases", "event", "a new root", "version", longer.Last().Version(), "fleet", longer.Fleet())
	r.roots = longer
	if r.config.Store != nil {
		for _, root := range longer.Roots() {
			r.config.Store.AddRoot(root)
		}
	}
	select {
	case r.rooted <- struct{}{}:
	default:
	}
}

// makeRecord publishes a release under the longest chain that vouches for it: a
// root that was made may be there before the first release under it.
func makeRecord(c chain.Chain, envelope []byte, now time.Time) (record.Record, error) {
	rec, first := record.Make(c, envelope, now)
	for links := c.Roots(); first != nil && len(links) > 1; {
		links = links[:len(links)-1]
		raw := make([][]byte, len(links))
		for i, link := range links {
			raw[i] = link.Raw()
		}
		shorter, err := chain.Parse(raw...)
		if err != nil {
			break
		}
		if rec, err = record.Make(shorter, envelope, now); err == nil {
			return rec, nil
		}
	}
	return rec, first
}

// complain says once of each release why it is not published.
func (r *Releases) complain(release store.Release, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.told[release.Digest()] {
		r.told[release.Digest()] = true
		slog.Warn("releases", "event", "not published", "digest", release.Digest().String(), "reason", err.Error())
	}
}

// holds returns the record of a line of releases that is held.
func (r *Releases) holds(key record.Key) (record.Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.held[key]
	return rec, ok
}
