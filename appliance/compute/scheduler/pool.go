package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/worker"
)

// PoolConfig says what a pool keeps ready. The zero value keeps nothing: every
// task has processes of its own.
type PoolConfig struct {
	Spare int           // processes started ahead, which have run nothing yet
	Idle  int           // processes kept after a task, for the next like it
	Rest  time.Duration // how long they are kept; 0 is half a minute
	// Cache keeps compiled modules, and is closed with the pool. Nil keeps them in
	// memory, and only the last.
	Cache *modulecache.Cache
	// Groups limit the memory of the processes; nil where the kernel has none
	// for this process, and their walls are one less.
	Groups *sandbox.Cgroups
}

// Pool runs tasks in worker processes that were started ahead. A process runs
// a second task only when that is of the same requester, module and limits, and
// only after the first has ended with the outcome exited; after anything else
// it is replaced. It is safe for concurrent use.
type Pool struct {
	config PoolConfig

	mu       sync.Mutex
	spare    []*worker.Process
	idle     []*rested // used longest ago first
	starting int
	closed   bool
	buried   int // processes that end and are not waited for

	started, compiled atomic.Int64 // processes, and modules, since the pool was made

	work   context.Context // of what happens in the background
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// key is what a process may be used for once it has run something.
type key struct {
	requester       string
	module          names.Digest
	memoryMB, cores int
}

// rested is a process that waits for another task like its last.
type rested struct {
	*worker.Process
	key   key
	timer *time.Timer
}

// NewPool makes a pool. Its spare processes are started by Warm, or by the
// first task.
func NewPool(c PoolConfig) *Pool {
	c.Rest = cmp.Or(c.Rest, 30*time.Second)
	if c.Cache == nil {
		c.Cache, _ = modulecache.Open(modulecache.Config{MemoryBytes: 1}) // fails only on disk
	}
	p := &Pool{config: c}
	p.work, p.cancel = context.WithCancel(context.Background())
	return p
}

// OpenPool makes the pool of a daemon, which is to be warmed: a spare process a
// core and one more, as many kept for requesters who come back, and the cache.
func OpenPool(c modulecache.Config) (*Pool, error) {
	cache, err := modulecache.Open(c)
	if err != nil {
		return nil, err
	}
	groups, err := sandbox.OpenCgroups()
	if err != nil {
		cache.Close()
		return nil, err
	}
	cores := runtime.NumCPU()
	return NewPool(PoolConfig{Spare: min(1+cores, 8), Idle: min(1+cores, 16), Cache: cache, Groups: groups}), nil
}

// Close kills the processes that run nothing and waits for the end of those
// that do: end their contexts first.
func (p *Pool) Close() {
	p.Leave()
	p.wait.Wait()
}

// Leave is Close for a program that ends next: it does not wait for the kernel
// to take down what was killed.
func (p *Pool) Leave() {
	p.mu.Lock()
	p.closed = true
	p.cancel()
	var end []*worker.Process
	for _, r := range p.idle {
		r.timer.Stop()
		end = append(end, r.Process)
	}
	end = append(end, p.spare...)
	p.idle, p.spare = nil, nil
	p.mu.Unlock()
	for _, w := range end {
		w.End()
	}
	p.config.Cache.Close()
}

// Walls returns the names of the walls that stand around a worker on this
// machine (see sandbox.Enter), as a worker has found them.
func (p *Pool) Walls(ctx context.Context) ([]string, error) {
	w, err := p.take(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("asking a worker for its walls: %w", err)
	}
	p.putBack(w)
	return w.Walls(), nil
}

// Warm starts spare processes, in the background, until there are enough.
func (p *Pool) Warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; !p.closed && len(p.spare)+p.starting < p.config.Spare; p.starting++ {
		p.wait.Go(func() {
			w, err := p.start(p.work, nil)
			p.mu.Lock()
			p.starting--
			p.mu.Unlock()
			if err == nil {
				p.putBack(w)
			} else if !errors.Is(err, context.Canceled) {
				// The task that needs one starts it itself and has the error.
				slog.Warn("starting a worker ahead of its job", "error", err)
			}
		})
	}
}

// start starts a process.
func (p *Pool) start(ctx context.Context, folders []worker.Folder) (*worker.Process, error) {
	p.started.Add(1)
	return worker.Start(ctx, p.config.Groups, folders)
}

// maxBuried is how many processes may be ending at once without being waited
// for, so that their memory cannot pile up.
const maxBuried = 16

// bury ends a process and does not wait for it. It runs nothing any more, but
// giving back the half GiB of a compiler takes the kernel a tenth of a second,
// by which the task's result would be late.
func (p *Pool) bury(w *worker.Process) {
	p.mu.Lock()
	wait := p.closed || p.buried == maxBuried
	if !wait {
		p.buried++
		p.wait.Go(func() {
			w.End()
			p.mu.Lock()
			p.buried--
			p.mu.Unlock()
		})
	}
	p.mu.Unlock()
	if wait {
		w.End()
	}
}

// putBack makes a process that has run nothing a spare one.
func (p *Pool) putBack(w *worker.Process) {
	p.mu.Lock()
	keep := !p.closed && w.Alive() && len(p.spare) < p.config.Spare
	if keep {
		p.spare = append(p.spare, w)
	}
	p.mu.Unlock()
	if !keep {
		w.End()
	}
}

// take returns a process that has run nothing: a spare one or a new one. With
// folders it is always new.
func (p *Pool) take(ctx context.Context, folders []worker.Folder) (*worker.Process, error) {
	if len(folders) > 0 {
		return p.start(ctx, folders)
	}
	for {
		p.mu.Lock()
		var w *worker.Process
		if len(p.spare) > 0 {
			w = p.spare[0]
			p.spare = slices.Delete(p.spare, 0, 1)
		}
		p.mu.Unlock()
		switch {
		case w == nil:
			return p.start(ctx, nil)
		case w.Alive():
			return w, nil
		}
		w.End()
	}
}

// again returns a process that has run a task like this one, or nil.
func (p *Pool) again(k key) *worker.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		r := p.idle[i]
		if r.key != k || !r.timer.Stop() {
			continue // stopped too late: it is being ended
		}
		p.idle = slices.Delete(p.idle, i, i+1)
		if r.Alive() {
			return r.Process
		}
		r.End()
	}
	return nil
}

// rest keeps a process after a task that has exited.
func (p *Pool) rest(w *worker.Process, k key) {
	r := &rested{Process: w, key: k}
	var over *worker.Process
	p.mu.Lock()
	switch {
	case p.closed || p.config.Idle == 0:
		over = w
	default:
		if len(p.idle) >= p.config.Idle {
			if oldest := p.idle[0]; oldest.timer.Stop() {
				over = oldest.Process
			}
			p.idle = slices.Delete(p.idle, 0, 1)
		}
		p.idle = append(p.idle, r)
		r.timer = time.AfterFunc(p.config.Rest, func() {
			p.mu.Lock()
			p.idle = slices.DeleteFunc(p.idle, func(other *rested) bool { return other == r })
			p.mu.Unlock()
			w.End()
		})
	}
	p.mu.Unlock()
	if over != nil {
		over.End()
	}
}
