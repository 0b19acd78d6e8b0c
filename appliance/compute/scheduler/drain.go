package scheduler

import (
	"context"
	"time"
)

// drainMargin is how long after the time for a drain jobs are still refused: the
// node restarts in it, or else takes jobs again by itself.
const drainMargin = 30 * time.Second

// Drain lets no more jobs in, sends away those that wait, and returns once those
// that run have ended, or after a time; then it says how many are left, which go on.
// Until Undrain, or for half a minute more, the node is about to restart.
func (s *Scheduler) Drain(ctx context.Context, within time.Duration) (left int) {
	s.mu.Lock()
	s.drained = s.now().Add(within + drainMargin)
	for _, a := range s.waiting {
		a.cancel(errRestarting)
	}
	s.mu.Unlock()
	end := time.NewTimer(within)
	defer end.Stop()
	for {
		s.mu.Lock()
		left = len(s.active)
		changed := make(chan struct{})
		s.changed = append(s.changed, changed)
		s.mu.Unlock()
		if left == 0 {
			return 0
		}
		select {
		case <-changed:
		case <-end.C:
			return left
		case <-ctx.Done():
			return left
		}
	}
}

// Undrain takes jobs again.
func (s *Scheduler) Undrain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained = time.Time{}
}
