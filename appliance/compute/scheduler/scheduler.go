// Package runs is the node's side of every job: it admits an offer or says what
// is missing, lets it wait until there are cores and memory for it, runs it,
// records how it ended, and only then hands out the receipt. Who asked over
// which road does not matter to it.
package runs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/history"
	"phase/appliance/compute/scheduler"
)

// Limits are what jobs may have of this node.
type Limits struct {
	Cores        int   // that run at once, all jobs together
	MemoryMB     int   // MiB, all jobs that run at once together, as they asked for
	Queue        int   // jobs that may wait
	PerRequester int   // jobs of one requester that run or wait
	TimeoutSec   int   // the longest time one job may ask for
	OutputBytes  int64 // the most output one job may ask for
	HeldBytes    int64 // modules and inputs of jobs that run or wait, together
}

// Runs is safe for use by many at once.
type Runs struct {
	runner  *scheduler.Runner
	history *history.History
	limits  Limits
	now     func() time.Time

	mu       sync.Mutex
	stopping bool
	places   int            // taken, by jobs that run, wait or are being sent
	by       map[string]int // the same for each requester
	held     int64          // bytes
	active   map[string]*active
	waiting  []*active // in the order they came
	cores    int       // in use
	memory   int       // in use, MiB
	running  int
	idle     chan struct{} // closed when nothing waits or runs any more; nil unless stopping
}

// active is an offer that waits or runs.
type active struct {
	cores, memory int
	begin         chan struct{} // closed when there is room
	cancel        context.CancelCauseFunc
}

// New returns the runs of a node.
func New(r *scheduler.Runner, h *history.History, l Limits, now func() time.Time) *Runs {
	return &Runs{runner: r, history: h, limits: l, now: now, by: map[string]int{}, active: map[string]*active{}}
}

// ErrCancelled is why a run was ended by Cancel.
var ErrCancelled = errors.New("it was cancelled")

// ErrOver is the error of cancelling what has ended.
var ErrOver = errors.New("the run is over")

// errStopping is why runs end when the node does.
var errStopping = errors.New("the node is stopping")

func reject(reason scheduler.Reason, format string, args ...any) error {
	return &scheduler.Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Place is the right to send one job. It is taken before the job's bytes are
// read, so that what cannot be run is not even received.
type Place struct {
	of        *Runs
	requester string
	held      int64
}

// Enter takes a place for a requester. The error is a *job.Rejection.
func (r *Runs) Enter(requester string) (*Place, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch most := r.limits.Cores + r.limits.Queue; {
	case r.stopping:
		return nil, reject(scheduler.QueueFull, "%v; ask another one, or this one again when it is back", errStopping)
	case r.places >= most:
		return nil, reject(scheduler.QueueFull, "%d jobs run or wait already, which is all there is room for; try again later", r.places)
	case r.by[requester] >= r.limits.PerRequester:
		return nil, reject(scheduler.QueueFull, "%d of your own jobs run or wait already, %d are allowed; try again when one has ended", r.by[requester], r.limits.PerRequester)
	}
	r.places++
	r.by[requester]++
	return &Place{of: r, requester: requester}, nil
}

// Hold asks for n more bytes for what is being sent.
func (p *Place) Hold(n int64) error {
	r := p.of
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held+n > r.limits.HeldBytes && r.held > p.held {
		return reject(scheduler.QueueFull, "modules and inputs of the jobs that run or wait take %d bytes, %d are allowed; try again later", r.held, r.limits.HeldBytes)
	}
	r.held += n
	p.held += n
	return nil
}

// Leave gives the place back.
func (p *Place) Leave() {
	r := p.of
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held -= p.held
	r.places--
	if r.by[p.requester]--; r.by[p.requester] == 0 {
		delete(r.by, p.requester)
	}
}

// Watch is told how an offer fares; each function may be nil. They are called
// one after the other.
type Watch struct {
	Accepted func(runID, jobID string)
	Running  func()
	Ended    func() // the module; its receipt is yet to be written down
}

// Execute runs an offer at the place and returns what it did; that is recorded
// when Execute returns. The error is a *job.Rejection when the offer was at
// fault or there was no room for it, or wraps ErrCancelled.
func (p *Place) Execute(ctx context.Context, o scheduler.Offer, w Watch) (scheduler.Done, error) {
	r := p.of
	if err := r.allows(o); err != nil {
		return scheduler.Done{}, err
	}
	o.Requester, o.RunID = p.requester, scheduler.NewRunID()
	accepted, err := scheduler.Accept(o)
	if err != nil {
		return scheduler.Done{}, err
	}
	nonce, err := strictjson.Base64(o.Nonce) // one nonce, however it is spelled
	if err != nil {
		return scheduler.Done{}, reject(scheduler.InvalidRequest, "offer_nonce: %v", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	want := o.Spec.Job()
	entry := history.Entry{Job: o.Spec.File(), Run: history.Run{
		RunID: o.RunID, JobID: o.Spec.ID(), ModuleHash: want.ModuleHash, Requester: p.requester,
		State: history.Queued, Queued: r.now().UTC(),
	}}
	if err := r.history.Begin(entry, nonce); errors.Is(err, history.ErrSeen) {
		return scheduler.Done{}, reject(scheduler.InvalidRequest, "offer_nonce: this offer has been run already; choose another nonce")
	} else if err != nil {
		return scheduler.Done{}, err
	}
	a := &active{cores: want.CPUCores, memory: want.MemoryMB, begin: make(chan struct{}), cancel: cancel}
	r.queue(o.RunID, a)
	defer r.leave(o.RunID, a)
	if w.Accepted != nil {
		w.Accepted(entry.RunID, entry.JobID)
	}
	select {
	case <-a.begin:
	case <-ctx.Done():
		return scheduler.Done{}, r.end(entry, reason(ctx, "it waited"))
	}
	started := r.now().UTC()
	entry.State, entry.Started = history.Running, &started
	r.history.Running(o.RunID, started)
	if w.Running != nil {
		w.Running()
	}
	done, err := r.runner.Run(ctx, accepted)
	if w.Ended != nil {
		w.Ended()
	}
	if err != nil {
		return scheduler.Done{}, r.end(entry, err)
	}
	if err := r.keep(entry, done); err != nil {
		return scheduler.Done{}, err
	}
	return done, nil
}

// reason is the error of a run that ended because its context did.
func reason(ctx context.Context, when string) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errStopping):
		return reject(scheduler.QueueFull, "%v; the job had not begun", errStopping)
	case errors.Is(cause, ErrCancelled):
		return fmt.Errorf("%w while %s", ErrCancelled, when)
	default:
		return fmt.Errorf("whoever asked has left while %s: %w", when, cause)
	}
}

// allows compares a job with what one job may have here.
func (r *Runs) allows(o scheduler.Offer) error {
	want := o.Spec.Job()
	for _, f := range []struct {
		field      string
		asks, most int64
	}{
		{"cpu_cores", int64(want.CPUCores), int64(r.limits.Cores)},
		{"memory_mb", int64(want.MemoryMB), int64(r.limits.MemoryMB)},
		{"timeout_seconds", int64(want.TimeoutSeconds), int64(r.limits.TimeoutSec)},
		{"output_bytes", o.Spec.OutputBytes(), r.limits.OutputBytes},
	} {
		if f.asks > f.most {
			return reject(scheduler.InsufficientResources, "%s: %d asked for, this node gives at most %d", f.field, f.asks, f.most)
		}
	}
	return nil
}

// end records a run that came to nothing.
func (r *Runs) end(entry history.Entry, why error) error {
	finished := r.now().UTC()
	entry.State, entry.Finished, entry.Detail = history.Refused, &finished, why.Error()
	return errors.Join(why, r.history.End(entry))
}

// keep records a run that has a receipt.
func (r *Runs) keep(entry history.Entry, done scheduler.Done) error {
	started, finished := done.Started.UTC(), done.Finished.UTC()
	entry.State, entry.Started, entry.Finished = history.Done, &started, &finished
	entry.ExitCode, entry.Outcome, entry.Detail, entry.Receipt = &done.ExitCode, &done.Outcome, done.Detail, done.Receipt
	if err := r.history.End(entry); err != nil {
		return fmt.Errorf("keeping the receipt: %w", err)
	}
	slog.Info("job", "run", done.RunID, "job", done.JobID, "by", entry.Requester, "outcome", done.Outcome, "exit", done.ExitCode,
		"took", done.Finished.Sub(done.Started).Round(time.Millisecond))
	return nil
}

// queue puts an offer behind the others.
func (r *Runs) queue(runID string, a *active) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active[runID] = a
	r.waiting = append(r.waiting, a)
	if r.stopping {
		a.cancel(errStopping)
	}
	r.advance()
}

// leave takes an offer out, wherever it stands.
func (r *Runs) leave(runID string, a *active) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, runID)
	if a.begun() {
		r.cores -= a.cores
		r.memory -= a.memory
		r.running--
	}
	for i, w := range r.waiting {
		if w == a {
			r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
			break
		}
	}
	if len(r.active) == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
	r.advance()
}

func (a *active) begun() bool {
	select {
	case <-a.begin:
		return true
	default:
		return false
	}
}

// advance begins what has room, first come first served: a large job is not
// starved by small ones that would fit beside what runs.
func (r *Runs) advance() {
	for len(r.waiting) > 0 && !r.stopping {
		a := r.waiting[0]
		if r.cores+a.cores > r.limits.Cores || r.memory+a.memory > r.limits.MemoryMB {
			return
		}
		r.waiting = r.waiting[1:]
		r.cores += a.cores
		r.memory += a.memory
		r.running++
		close(a.begin)
	}
}

// Cancel ends a run that waits or runs, and returns it as it stood. The error
// wraps ErrOver or history.ErrUnknown.
func (r *Runs) Cancel(runID string) (history.Run, error) {
	e, err := r.history.Get(runID)
	if err != nil {
		return history.Run{}, err
	}
	r.mu.Lock()
	a, ok := r.active[runID]
	r.mu.Unlock()
	if !ok || e.State.Over() {
		return history.Run{}, fmt.Errorf("cancelling the run %s: %w: it is %s", runID, ErrOver, e.State)
	}
	a.cancel(ErrCancelled)
	return e.Run, nil
}

// Stop takes no more jobs, sends away those that wait, and lets those that run
// go on until ctx ends; then they are killed. It returns when all have ended
// and are recorded.
func (r *Runs) Stop(ctx context.Context) {
	r.mu.Lock()
	r.stopping = true
	for _, a := range r.waiting {
		a.cancel(errStopping)
	}
	idle := make(chan struct{})
	if len(r.active) == 0 {
		close(idle)
	} else {
		r.idle = idle
	}
	r.mu.Unlock()
	select {
	case <-idle:
		return
	case <-ctx.Done():
	}
	r.mu.Lock()
	for _, a := range r.active {
		a.cancel(errStopping)
	}
	r.mu.Unlock()
	<-idle
}

// Load is how much of the node is in use.
type Load struct {
	Limits
	Running, Waiting int
	Stopping         bool
}

// Load returns the node's load at this moment.
func (r *Runs) Load() Load {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Load{Limits: r.limits, Running: r.running, Waiting: len(r.waiting), Stopping: r.stopping}
}
