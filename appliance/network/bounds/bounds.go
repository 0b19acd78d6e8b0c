// Package bounds counts the streams that peers have open to a node, all and
// each: one peer with many, or many peers with one each, take no more than
// their share.
package bounds

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Bounds are how many streams of one protocol others may have open. It is safe
// for concurrent use.
type Bounds struct {
	most, each int

	mu   sync.Mutex
	open int
	of   map[peer.ID]int
}

// New bounds the streams of all peers together and of each.
func New(most, each int) *Bounds { return &Bounds{most: most, each: each, of: map[peer.ID]int{}} }

// Enter takes a place for a stream of a peer; false when there is none.
func (b *Bounds) Enter(from peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.most || b.of[from] >= b.each {
		return false
	}
	b.open++
	b.of[from]++
	return true
}

// Leave gives the place back, once for each Enter that was true.
func (b *Bounds) Leave(from peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.of[from]--; b.of[from] == 0 {
		delete(b.of, from)
	}
}
