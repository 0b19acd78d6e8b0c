package releases

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// bounds are how many streams others may have open, all and each.
type bounds struct {
	most, each int

	mu   sync.Mutex
	open int
	of   map[peer.ID]int
}

func newBounds(most, each int) *bounds { return &bounds{most: most, each: each, of: map[peer.ID]int{}} }

// enter takes a place for a stream of a peer; there may be none.
func (b *bounds) enter(from peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.most || b.of[from] >= b.each {
		return false
	}
	b.open++
	b.of[from]++
	return true
}

// leave gives the place back.
func (b *bounds) leave(from peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.of[from]--; b.of[from] == 0 {
		delete(b.of, from)
	}
}
