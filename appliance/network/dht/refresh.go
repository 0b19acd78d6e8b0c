package dht

import (
	"context"
	"log/slog"
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

// due says whether it is time: soon after the table has changed, and then less
// and less often as long as it has room.
func (r *refresh) due(size int, now time.Time) bool {
	if size != r.size {
		r.size, r.pause = size, firstRefresh
		if soon := now.Add(firstRefresh); r.next.IsZero() || soon.Before(r.next) {
			r.next = soon
		}
	}
	if size == 0 || size >= closest || now.Before(r.next) {
		return false
	}
	r.pause = min(2*r.pause, longestRefresh)
	r.next = now.Add(r.pause)
	return true
}

// fill searches for the peers closest to this node, which come into the table by
// that.
func (d *DHT) fill(ctx context.Context) {
	d.work.Go(func() {
		began, before := time.Now(), d.Size()
		select {
		case err := <-d.table.RefreshRoutingTable():
			slog.Debug("dht", "event", "filled the routing table", "before", before, "after", d.Size(), "took", time.Since(began), "error", err)
		case <-ctx.Done():
		case <-d.behind.Done():
		}
	})
}
