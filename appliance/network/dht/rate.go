package dht

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"golang.org/x/time/rate"
)

// How much one place may ask, in bytes of messages: a record costs signatures to
// be verified, and all who ask wait for the same turn. A place is one IPv4
// address or one IPv6 /64, or a peer that is reached through a relay or is on
// this machine. A search sends some hundred bytes, publishing a release some KiB an hour.
const (
	flowRate  = 64 << 10 // a second
	flowBurst = 2 << 20
	askCost   = 64 // of a message, whatever it holds
	maxFlows  = 4096
)

// flows are the rates of the places that asked lately.
type flows struct {
	mu sync.Mutex
	of map[string]*flow
}

type flow struct {
	bucket *rate.Limiter
	seen   time.Time
}

func newFlows() *flows { return &flows{of: map[string]*flow{}} }

// allow says whether a message of so many bytes is within the rate of the place
// it comes from.
func (f *flows) allow(from network.Conn, size int, now time.Time) bool {
	key := from.RemotePeer().String()
	if place, ok := placeOf([]network.Conn{from}); ok {
		key = place.String()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.of[key]
	if one == nil {
		f.makeRoom(now)
		one = &flow{bucket: rate.NewLimiter(flowRate, flowBurst)}
		f.of[key] = one
	}
	one.seen = now
	return one.bucket.AllowN(now, size+askCost)
}

// makeRoom forgets those whose buckets are full again, and any when all are new:
// to forget one gives it no more than a full bucket.
func (f *flows) makeRoom(now time.Time) {
	if len(f.of) < maxFlows {
		return
	}
	for key, one := range f.of {
		if now.Sub(one.seen) > flowBurst/flowRate*time.Second || len(f.of) >= maxFlows {
			delete(f.of, key)
		}
	}
}
