package plasmd

import (
	"context"
	"sync"

	"phase/appliance/job"
)

// pool is where the node's jobs run. Compiled modules are kept beside the
// identity, which whoever can write that folder has already; without one they
// are kept in memory.
func (c startCmd) pool(s *server) (*job.Pool, error) {
	pool, err := job.OpenPool(job.Kept{Keys: c.Data})
	if err != nil && c.Data != "" {
		s.problem(err)
		pool, err = job.OpenPool(job.Kept{})
	}
	return pool, err
}

// walls asks a worker, once and not before somebody wants to know, which walls
// stand around it.
func walls(pool *job.Pool) func() []string {
	return sync.OnceValue(func() []string {
		names, err := pool.Walls(context.Background())
		if err != nil {
			return []string{"unknown: " + err.Error()}
		}
		return names
	})
}
