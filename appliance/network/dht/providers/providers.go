// Package providers is the library's store of who provides what in the DHT, with
// room for so many only. When it is full, the peer with most entries gives one
// up, the oldest, so that one that announces much pushes out its own; a content
// of the node's own fleet gives way last, and what the node itself announces
// never.
package providers

import (
	"context"
	"encoding/base32"
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// What a node keeps of who provides what: some 300 bytes an entry.
const (
	maxProviders    = 4096 // entries, a peer and what it provides
	maxOfPeer       = 256  // of one peer
	maxOfContent    = 64   // of one content
	providersPrefix = "/providers/"
)

var errProviders = errors.New("no room for providers")

// Providers is a datastore for the library, which puts its own lock around it:
// it is not safe for concurrent use.
type Providers struct {
	content map[string]map[string]entry // by content and peer, as the library writes them
	peers   map[string]map[string]bool  // the other way round
	self    string                      // the node, as the library writes it
	own     map[string]bool             // contents of the node's own fleet
	count   int
	order   uint64
}

type entry struct {
	value []byte
	order uint64 // when it came
}

// New is for the node with that peer id, in its binary form.
func New(self string) *Providers {
	return &Providers{content: map[string]map[string]entry{}, peers: map[string]map[string]bool{}, self: base32Of(self), own: map[string]bool{}}
}

func split(key datastore.Key) (content, peer string, ok bool) {
	rest, ok := strings.CutPrefix(key.String(), providersPrefix)
	content, peer, both := strings.Cut(rest, "/")
	return content, peer, ok && both && !strings.Contains(peer, "/")
}

func join(content, peer string) string { return providersPrefix + content + "/" + peer }

// Put makes room and keeps the entry, or refuses it.
func (p *Providers) Put(_ context.Context, key datastore.Key, value []byte) error {
	content, peer, ok := split(key)
	if !ok {
		return errProviders
	}
	p.remove(content, peer)
	if peer != p.self {
		if len(p.peers[peer]) >= maxOfPeer {
			p.removeOldest(peer, func(string) bool { return true })
		}
		if len(p.content[content]) >= maxOfContent {
			p.removeAny(content)
		}
		if p.count >= maxProviders && !p.makeRoom(content) {
			return errProviders
		}
	}
	if p.content[content] == nil {
		p.content[content] = map[string]entry{}
	}
	if p.peers[peer] == nil {
		p.peers[peer] = map[string]bool{}
	}
	p.order++
	p.count++
	p.content[content][peer] = entry{value, p.order}
	p.peers[peer][content] = true
	return nil
}

// makeRoom takes one entry from the peer that has most: of contents of other
// fleets if there are any, else, for a content of the own one, of those.
func (p *Providers) makeRoom(content string) bool {
	for _, mayGo := range []func(string) bool{
		func(c string) bool { return !p.own[c] },
		func(string) bool { return p.own[content] },
	} {
		heaviest, most := "", 0
		for peer, contents := range p.peers {
			n := 0
			for c := range contents {
				if mayGo(c) {
					n++
				}
			}
			if n > most && peer != p.self {
				heaviest, most = peer, n
			}
		}
		if most > 0 {
			p.removeOldest(heaviest, mayGo)
			return true
		}
	}
	return false
}

func (p *Providers) removeOldest(peer string, mayGo func(content string) bool) {
	oldest, order := "", uint64(0)
	for content := range p.peers[peer] {
		if at := p.content[content][peer].order; mayGo(content) && (oldest == "" || at < order) {
			oldest, order = content, at
		}
	}
	p.remove(oldest, peer)
}

// removeAny takes a peer of a content out by chance, so that neither those who
// came first nor those who come anew all the time own the list.
func (p *Providers) removeAny(content string) {
	n := rand.IntN(len(p.content[content]))
	for peer := range p.content[content] {
		if n--; n < 0 && peer != p.self {
			p.remove(content, peer)
			return
		}
	}
}

func (p *Providers) remove(content, peer string) {
	if _, ok := p.content[content][peer]; !ok {
		return
	}
	p.count--
	delete(p.content[content], peer)
	delete(p.peers[peer], content)
	if len(p.content[content]) == 0 {
		delete(p.content, content)
	}
	if len(p.peers[peer]) == 0 {
		delete(p.peers, peer)
	}
}

// Delete forgets an entry.
func (p *Providers) Delete(_ context.Context, key datastore.Key) error {
	if content, peer, ok := split(key); ok {
		p.remove(content, peer)
	}
	return nil
}

// Get returns an entry.
func (p *Providers) Get(_ context.Context, key datastore.Key) ([]byte, error) {
	content, peer, _ := split(key)
	if e, ok := p.content[content][peer]; ok {
		return e.value, nil
	}
	return nil, datastore.ErrNotFound
}

// Has says whether an entry is there.
func (p *Providers) Has(ctx context.Context, key datastore.Key) (bool, error) {
	_, err := p.Get(ctx, key)
	return err == nil, nil
}

// GetSize is the size of an entry.
func (p *Providers) GetSize(ctx context.Context, key datastore.Key) (int, error) {
	value, err := p.Get(ctx, key)
	return len(value), err
}

// Query lists the entries of one content, or all.
func (p *Providers) Query(_ context.Context, q query.Query) (query.Results, error) {
	var list []query.Entry
	add := func(content string) {
		for peer, e := range p.content[content] {
			list = append(list, query.Entry{Key: join(content, peer), Value: e.value, Size: len(e.value)})
		}
	}
	if content := strings.TrimPrefix(q.Prefix+"/", providersPrefix); len(content) > 1 {
		add(strings.Trim(content, "/"))
	} else {
		for content := range p.content {
			add(content)
		}
	}
	return query.ResultsWithEntries(q, list), nil
}

// Sync does nothing: all is in memory.
func (p *Providers) Sync(context.Context, datastore.Key) error { return nil }

// Close does nothing.
func (p *Providers) Close() error { return nil }

// Batch is the library's plain one.
func (p *Providers) Batch(context.Context) (datastore.Batch, error) {
	return datastore.NewBasicBatch(p), nil
}

// Prefer says which contents, by multihash, are of the node's own fleet.
func (p *Providers) Prefer(contents ...string) {
	clear(p.own)
	for _, c := range contents {
		p.own[base32Of(c)] = true
	}
}

// Len is how many entries are held, a peer and what it provides.
func (p *Providers) Len() int { return p.count }

func base32Of(text string) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(text))
}
