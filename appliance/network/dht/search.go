package dht

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/names"
	"phase/appliance/release/record"
)

const (
	// searchTime bounds a search, what goes on of it behind included.
	searchTime = 30 * time.Second
	// grace is how long after the first value a better one is waited for.
	grace = 300 * time.Millisecond
	// maxFound is how many providers of one content are found.
	maxFound = 64
)

// ErrNone says that a search ended and nothing was found.
var ErrNone = errors.New("the DHT has none")

// Search delivers the records of a key as they come, each better than the one
// before it, until the search ends or ctx does; then it closes the channel. The
// search itself goes on behind, and mends what peers hold that is older.
func (d *DHT) Search(ctx context.Context, key record.Key) <-chan record.Record {
	out := make(chan record.Record)
	d.work.Go(func() {
		defer close(out)
		search, cancel := context.WithTimeout(d.behind, searchTime)
		defer cancel()
		values, err := d.table.SearchValue(search, key.String())
		if err != nil {
			return
		}
		wanted := ctx.Done()
		for value := range values {
			r, err := d.validator.parse(key.String(), value)
			if err != nil || ctx.Err() != nil {
				continue
			}
			select {
			case out <- r:
			case <-wanted:
			}
		}
	})
	return out
}

// Best is the best record that is there a moment after the first; ErrNone when
// there is none.
func (d *DHT) Best(ctx context.Context, key record.Key) (record.Record, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	found := d.Search(ctx, key)
	var best record.Record
	var enough <-chan time.Time
	for {
		select {
		case r, ok := <-found:
			if ok {
				if best = r; enough == nil {
					enough = time.After(grace)
				}
				continue
			}
		case <-enough:
		case <-ctx.Done():
		}
		if best.Value() != nil {
			return best, nil
		}
		if ctx.Err() != nil {
			return best, fmt.Errorf("searching the DHT for %s: %w after %v", key, context.Cause(ctx), time.Since(began).Round(time.Millisecond))
		}
		return best, fmt.Errorf("searching the DHT for %s: %w (%d peers in the routing table)", key, ErrNone, d.Size())
	}
}

// Providers delivers the peers that say they provide content, as they come,
// until the search ends or ctx does; then it closes the channel. Nothing of
// what they say is believed.
func (d *DHT) Providers(ctx context.Context, digest names.Digest) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo)
	d.work.Go(func() {
		defer close(out)
		search, cancel := context.WithTimeout(ctx, searchTime)
		defer cancel()
		defer context.AfterFunc(d.behind, cancel)()
		for p := range d.table.FindProvidersAsync(search, cidOf(digest), maxFound) {
			if p.ID == d.config.Host.ID() {
				continue
			}
			select {
			case out <- p:
			case <-search.Done():
			}
		}
	})
	return out
}

// FindPeer searches for the addresses of a peer.
func (d *DHT) FindPeer(ctx context.Context, id peer.ID) (peer.AddrInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	found, err := d.table.FindPeer(ctx, id)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("searching the DHT for peer %s: %w", id, err)
	}
	return found, nil
}

// Reach connects to a peer, and searches for its addresses when none are known.
func (d *DHT) Reach(ctx context.Context, p peer.AddrInfo) error {
	h := d.config.Host
	if c := h.Network().Connectedness(p.ID); c == network.Connected || c == network.Limited {
		return nil
	}
	if len(p.Addrs) == 0 && len(h.Peerstore().Addrs(p.ID)) == 0 {
		found, err := d.FindPeer(ctx, p.ID)
		if err != nil {
			return err
		}
		p.Addrs = found.Addrs
	}
	if err := h.Connect(ctx, p); err != nil {
		return fmt.Errorf("connecting to peer %s: %w", p.ID, err)
	}
	return nil
}
