package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"phase/appliance/compute/history"
)

// queue puts an offer at the end of the queue.
func (s *Scheduler) queue(runID string, a *active) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active[runID] = a
	s.waiting = append(s.waiting, a)
	switch {
	case s.stopping:
		a.cancel(errStopping)
	case s.now().Before(s.drained): // it had its place before
		a.cancel(errRestarting)
	}
	s.advance()
}

// leave takes an offer out, wherever it stands.
func (s *Scheduler) leave(runID string, a *active) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, runID)
	if a.begun {
		s.cores -= a.cores
		s.memory -= a.memory
		s.running--
		s.usual += (time.Since(a.since) - s.usual) / 4
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(w *active) bool { return w == a })
	for _, changed := range s.changed {
		close(changed)
	}
	s.changed = nil
	if len(s.active) == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
	s.advance()
}

// advance begins what has room, first come first served: a large job is not
// starved by small ones that would fit beside what runs.
func (s *Scheduler) advance() {
	for len(s.waiting) > 0 && !s.stopping && !s.now().Before(s.drained) {
		a := s.waiting[0]
		if s.cores+a.cores > s.limits.Cores || s.memory+a.memory > s.limits.MemoryMB {
			return
		}
		s.waiting = s.waiting[1:]
		s.cores += a.cores
		s.memory += a.memory
		s.running++
		a.begun, a.since = true, time.Now()
		close(a.begin)
	}
}

// Cancel ends a run that waits or runs, and returns it as it stood. The error
// wraps ErrOver or history.ErrUnknown.
func (s *Scheduler) Cancel(runID string) (history.Run, error) {
	e, err := s.history.Get(runID)
	if err != nil {
		return history.Run{}, err
	}
	s.mu.Lock()
	a, ok := s.active[runID]
	s.mu.Unlock()
	if !ok || e.State.Over() {
		return history.Run{}, fmt.Errorf("cancelling the run %s: %w: it is %s", runID, ErrOver, e.State)
	}
	a.cancel(ErrCancelled)
	return e.Run, nil
}

// Stop takes no more jobs, sends away those that wait, and lets those that run
// go on until ctx ends; then they are killed. It returns when all have ended
// and are recorded.
func (s *Scheduler) Stop(ctx context.Context) {
	s.mu.Lock()
	s.stopping = true
	for _, a := range s.waiting {
		a.cancel(errStopping)
	}
	idle := make(chan struct{})
	if len(s.active) == 0 {
		close(idle)
	} else {
		s.idle = idle
	}
	s.mu.Unlock()
	select {
	case <-idle:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	for _, a := range s.active {
		a.cancel(errStopping)
	}
	s.mu.Unlock()
	<-idle
}

// Load is how much of the node is in use. CoresUsed and MemoryUsedMB are of the
// jobs that run, as they asked for; HeldUsed is of modules, inputs and what else is
// kept for those that run, wait or are being sent.
type Load struct {
	Limits
	Running, Waiting        int
	CoresUsed, MemoryUsedMB int
	HeldUsed                int64 // bytes
	Stopping                bool
}

// Load returns the node's load at this moment.
func (s *Scheduler) Load() Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Load{Limits: s.limits, Running: s.running, Waiting: len(s.waiting), CoresUsed: s.cores, MemoryUsedMB: s.memory, HeldUsed: s.held, Stopping: s.stopping}
}
