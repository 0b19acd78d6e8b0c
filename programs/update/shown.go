package update

import (
	"log/slog"
	"slices"
	"sync"

	"phase/appliance/base/statefile"
	"phase/appliance/release/trial"
	"phase/appliance/release/update/kept"
)

// shown is what other programs see of this one: what the loop says, and what is
// damaged in the store.
type shown struct {
	node *node

	mu      sync.Mutex
	last    statefile.Update
	said    bool // the loop has said something
	damaged []statefile.Damaged
}

// show writes what the loop says.
func (s *shown) show(u statefile.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.said = u, true
	s.write()
}

// mark writes what is damaged, when that has changed.
func (s *shown) mark(damaged []statefile.Damaged) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(a, b statefile.Damaged) bool { return a.Digest == b.Digest && slices.Equal(a.Missing, b.Missing) }
	if slices.EqualFunc(damaged, s.damaged, same) {
		return
	}
	s.damaged = damaged
	if s.said {
		s.write()
	}
}

func (s *shown) write() {
	u := s.last
	u.Walls, u.Failed, u.Damaged = s.node.walls, failed(trial.Here()), s.damaged
	if err := statefile.Write(statefile.UpdateFolder(s.node.State), statefile.UpdateFile, u); err != nil {
		slog.Error(err.Error())
	}
}

// damaged are the releases of the store that are not whole.
func damaged(k *kept.Keeper) (list []statefile.Damaged) {
	for _, c := range k.Damaged() {
		list = append(list, statefile.Damaged{Version: c.Manifest().Version, Digest: c.Digest().String(), Missing: c.Missing})
	}
	return list
}
