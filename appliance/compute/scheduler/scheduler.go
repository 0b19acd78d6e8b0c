// Package scheduler decides which job runs when, and where: it takes a job in or
// says what is missing (places, quotas), lets it wait until there are cores and
// memory for it (the queue), gives it a worker process (the pool), has its end
// recorded, and only then hands out the signed receipt.
//
// A job has one door in, Place.Execute, and one out, its return, by whatever
// route the requester came. On its way it crosses five packages: api, scheduler,
// worker, wasm and, for the module's files, hostfs; modulecache, receipt and
// history stand beside it.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/compute/history"
	"phase/appliance/compute/modulecache"
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

// Scheduler runs the jobs of a node. It is safe for concurrent use.
type Scheduler struct {
	runner  *Runner
	history *history.History
	limits  Limits
	now     func() time.Time

	mu       sync.Mutex
	stopping bool
	drained  time.Time      // no job is let in before this, unless Undrain is called
	usual    time.Duration  // how long jobs take: the newest count most
	places   int            // taken, by jobs that run, wait or are being sent
	by       map[string]int // the same for each requester
	held     int64          // bytes
	active   map[string]*active
	waiting  []*active // in the order they came
	cores    int       // in use
	memory   int       // in use, MiB
	running  int
	idle     chan struct{}   // closed when nothing waits or runs any more; nil unless stopping
	changed  []chan struct{} // closed when a job leaves
}

// active is an offer that waits or runs.
type active struct {
	cores, memory int
	begin         chan struct{} // closed when there is room
	begun         bool          // it is
	since         time.Time     // … since then
	cancel        context.CancelCauseFunc
}

// New returns the scheduler of a node.
func New(r *Runner, h *history.History, l Limits, now func() time.Time) *Scheduler {
	return &Scheduler{runner: r, history: h, limits: l, now: now, by: map[string]int{}, active: map[string]*active{}}
}

// ErrCancelled is why a run was ended by Cancel.
var ErrCancelled = errors.New("it was cancelled")

// ErrOver is the error of cancelling what has ended.
var ErrOver = errors.New("the run is over")

// errRestarting is why no job is let in while the node drains.
var errRestarting = errors.New("this node is about to restart")

// errStopping is why runs end when the node does.
var errStopping = errors.New("the node is stopping")

// Place is the right to send one job, which runs once. It is taken before the job's bytes are
// read, so that what cannot be run is not even received.
type Place struct {
	of        *Scheduler
	requester string
	runID     string
	held      int64
	release   []func() // modules
}

// RunID names the run that the place is for.
func (p *Place) RunID() string { return p.runID }

// Enter takes a place for a requester. The error is a *Rejection.
func (s *Scheduler) Enter(requester string) (*Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch most := s.limits.Cores + s.limits.Queue; {
	case s.stopping:
		return nil, reject(QueueFull, "%v; ask another one, or this one again when it is back", errStopping)
	case s.now().Before(s.drained):
		return nil, reject(QueueFull, "%v; ask another one, or this one again in a minute", errRestarting)
	case s.places >= most:
		return nil, reject(QueueFull, "%d jobs run or wait already, which is all there is room for; try again later", s.places)
	case s.by[requester] >= s.limits.PerRequester:
		return nil, reject(QueueFull, "%d of your own jobs run or wait already, %d are allowed; try again when one has ended", s.by[requester], s.limits.PerRequester)
	}
	s.places++
	s.by[requester]++
	return &Place{of: s, requester: requester, runID: NewRunID()}, nil
}

// Hold asks for n more bytes for what is being sent.
func (p *Place) Hold(n int64) error {
	s := p.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held+n > s.limits.HeldBytes && s.held > p.held {
		return reject(QueueFull, "modules and inputs of the jobs that run or wait take %d bytes, %d are allowed; try again later", s.held, s.limits.HeldBytes)
	}
	s.held += n
	p.held += n
	return nil
}

// Module returns a module that the same requester sent before and that is still
// held here, with room for it until the place is given back; nil where it has to
// be sent. The error is a *Rejection: there is no room.
func (p *Place) Module(digest names.Digest) (*modulecache.Module, error) {
	pool := p.of.runner.Pool
	if pool == nil {
		return nil, nil
	}
	m, release := pool.config.Cache.Held(p.requester, digest)
	if m == nil {
		return nil, nil
	}
	p.release = append(p.release, release)
	return m, p.Hold(m.Size())
}

// Leave gives the place back.
func (p *Place) Leave() {
	for _, release := range p.release {
		release()
	}
	s := p.of
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= p.held
	s.places--
	if s.by[p.requester]--; s.by[p.requester] == 0 {
		delete(s.by, p.requester)
	}
}

// Watch has functions that are called, one after the other, as a job makes
// progress; each may be nil.
type Watch struct {
	Accepted func(runID, jobID string)
	Running  func()
	Ended    func() // the module; its receipt is yet to be written down
}

// Execute runs an offer at the place and returns what it did; that is recorded
// when Execute returns. The error is a *Rejection when the offer was at
// fault or there was no room for it, or wraps ErrCancelled.
func (p *Place) Execute(ctx context.Context, o Offer, w Watch) (Done, error) {
	s := p.of
	if err := s.allows(o); err != nil {
		return Done{}, err
	}
	o.Requester, o.RunID = p.requester, p.runID
	if err := p.find(&o); err != nil {
		return Done{}, err
	}
	if err := o.check(); err != nil {
		return Done{}, err
	}
	nonce, err := parseNonce(o.Nonce)
	if err != nil {
		return Done{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	want := o.Spec.Job()
	entry := history.Entry{Job: o.Spec.File(), Run: history.Run{
		RunID: o.RunID, JobID: o.Spec.ID(), ModuleHash: want.ModuleHash, Requester: p.requester,
		State: history.Queued, Queued: s.now().UTC(),
	}}
	if err := s.history.Begin(entry, nonce); errors.Is(err, history.ErrSeen) {
		return Done{}, errSeen()
	} else if err != nil {
		return Done{}, err
	}
	a := &active{cores: want.CPUCores, memory: want.MemoryMB, begin: make(chan struct{}), cancel: cancel}
	s.queue(o.RunID, a)
	defer s.leave(o.RunID, a)
	if w.Accepted != nil {
		w.Accepted(entry.RunID, entry.JobID)
	}
	select {
	case <-a.begin:
	case <-ctx.Done():
		return Done{}, s.end(entry, reason(ctx, "it waited"))
	}
	started := s.now().UTC()
	entry.State, entry.Started = history.Running, &started
	s.history.Running(o.RunID, started)
	if w.Running != nil {
		w.Running()
	}
	done, err := s.runner.run(ctx, o)
	if w.Ended != nil {
		w.Ended()
	}
	if err != nil {
		return Done{}, s.end(entry, err)
	}
	if err := s.keep(entry, done); err != nil {
		return Done{}, err
	}
	return done, nil
}

// find gives an offer without a module the one that its job names, where it is
// held.
func (p *Place) find(o *Offer) error {
	if o.Module != nil {
		return nil
	}
	digest, err := names.ParseDigest(o.Spec.Job().ModuleHash)
	if err == nil {
		o.Module, err = p.Module(digest)
	}
	return err
}

// reason is the error of a run that ended because its context did.
func reason(ctx context.Context, when string) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errStopping), errors.Is(cause, errRestarting):
		return reject(QueueFull, "%v; the job had not begun", cause)
	case errors.Is(cause, ErrCancelled):
		return fmt.Errorf("%w while %s", ErrCancelled, when)
	default:
		return fmt.Errorf("the requester has left while %s: %w", when, cause)
	}
}

// allows compares a job with what one job may have here.
func (s *Scheduler) allows(o Offer) error {
	want := o.Spec.Job()
	for _, f := range []struct {
		field      string
		asks, most int64
	}{
		{"cpu_cores", int64(want.CPUCores), int64(s.limits.Cores)},
		{"memory_mb", int64(want.MemoryMB), int64(s.limits.MemoryMB)},
		{"timeout_seconds", int64(want.TimeoutSeconds), int64(s.limits.TimeoutSec)},
		{"output_bytes", o.Spec.OutputBytes(), s.limits.OutputBytes},
	} {
		if f.asks > f.most {
			return reject(InsufficientResources, "%s: %d asked for, this node gives at most %d", f.field, f.asks, f.most)
		}
	}
	return nil
}

// end records a run that has no receipt, and returns why.
func (s *Scheduler) end(entry history.Entry, why error) error {
	finished := s.now().UTC()
	entry.State, entry.Finished, entry.Detail = history.Refused, &finished, why.Error()
	return errors.Join(why, s.history.End(entry))
}

// keep records a run that has a receipt.
func (s *Scheduler) keep(entry history.Entry, done Done) error {
	started, finished := done.Started.UTC(), done.Finished.UTC()
	entry.State, entry.Started, entry.Finished = history.Done, &started, &finished
	entry.ExitCode, entry.Outcome, entry.Detail, entry.Receipt = &done.ExitCode, &done.Outcome, done.Detail, done.Receipt
	if err := s.history.End(entry); err != nil {
		return fmt.Errorf("keeping the receipt: %w", err)
	}
	slog.Info("job", "run", done.RunID, "job", done.JobID, "by", entry.Requester, "outcome", done.Outcome, "exit", done.ExitCode,
		"took", done.Finished.Sub(done.Started).Round(time.Millisecond))
	return nil
}
