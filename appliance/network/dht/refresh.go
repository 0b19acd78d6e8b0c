package dht

import (
	"context"
	"time"
)

// When a routing table that is not full is filled again.
const (
	firstRefresh   = time.Second
	longestRefresh = time.Minute
)

// refresh decides when the routing table is to be filled. The library does that
// when it meets a peer, and then every ten minutes: nodes that come up together
// ask each other while none knows anybody, and one that only asks, which nobody
// asks for in turn, would stay with the first two or three that long.
type refresh struct {
	next  time.Time
	pause time.Duration
	size  int // of the table, last time
}

// due says whether it is time for a table of that size: soon after it has changed
// or the first peer is there, and then less and less often as long as it has room.
func (r *refresh) due(size, connected int, now time.Time) bool {
	if connected == 0 {
		*r = refresh{}
		return false
	}
	if size != r.size || r.next.IsZero() {
		r.size, r.pause = size, firstRefresh
		if soon := now.Add(firstRefresh); r.next.IsZero() || soon.Before(r.next) {
			r.next = soon
		}
	}
	if size >= closest || now.Before(r.next) {
		return false
	}
	r.pause = min(2*r.pause, longestRefresh)
	r.next = now.Add(r.pause)
	return true
}

// fill has the library look again at the peers that are connected, as one that
// did not answer the first question has no place in the table, and search for the
// peers closest to this node, which come into it by that.
func (d *DHT) fill(ctx context.Context) { _ = d.table.Bootstrap(ctx) } // it never fails
