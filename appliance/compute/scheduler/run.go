package scheduler

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/wasm"
)

// Run runs a task and waits for its end. Ending ctx cancels it. An error means
// that the task did not run or that the worker was lost; however the module
// itself ends is a Result.
func (p *Pool) Run(ctx context.Context, t Task) (Result, error) {
	info, err := wasm.Inspect(t.Module)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r := &attempt{pool: p, task: t, key: key{requester: t.Requester, memoryMB: t.MemoryMB, cores: t.Cores}}
	if t.digest != nil {
		r.key.module = *t.digest
	} else {
		r.key.module = sha256.Sum256(t.Module)
	}
	r.result.Started = time.Now()
	limited, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	defer func() {
		if r.pipes != nil {
			r.pipes.sent()
		}
	}()
	if wants := info.MemoryPages * wasm.PageSize; wants > uint64(t.MemoryMB)<<20 {
		err = r.ended(job.Memory, 0, fmt.Sprintf("it starts with %d MiB of memory, %d are allowed", wants>>20, t.MemoryMB))
	} else {
		err = r.run(limited)
		if errors.Is(err, errStale) {
			// Compiled for a processor that this machine no longer has.
			p.cache.Forget(r.key.module)
			err = r.run(limited)
		}
	}
	switch {
	case r.result.Outcome != "":
	case ctx.Err() != nil:
		err = r.ended(job.Cancelled, 0, "")
	case limited.Err() != nil:
		err = r.ended(job.Timeout, 0, "")
	}
	if err != nil {
		return Result{}, err
	}
	return r.result, nil
}

// attempt is one task on its way. When ctx ends, its methods return without a
// result.
type attempt struct {
	pool   *Pool
	task   Task
	key    key
	pipes  *pipes    // once they are open; what is in them outlives a worker that could not begin
	over   time.Time // when the module had ended, however long its output takes to be read
	result Result
}

var errStale = errors.New("running the job: its compiled code does not fit this machine")

// ended sets the result; it returns nil.
func (r *attempt) ended(o job.Outcome, code uint32, detail string) error {
	r.result.Outcome, r.result.ExitCode, r.result.Detail = o, o.ExitCode(code), ui.Clean(detail)
	if r.over.IsZero() {
		r.over = time.Now()
	}
	// By the monotonic clock, so that a wall clock set back does not have a job
	// end before it began.
	r.result.Finished = r.result.Started.Add(r.over.Sub(r.result.Started))
	return nil
}

func (r *attempt) run(ctx context.Context) error {
	if len(r.task.Folders) == 0 {
		if w := r.pool.again(r.key); w != nil {
			return r.on(ctx, w, nil)
		}
	}
	// The process may need as long to start as the code to be found.
	type taken struct {
		*process
		err error
	}
	next := make(chan taken, 1)
	go func() {
		w, err := r.pool.take(ctx, r.task.Folders)
		next <- taken{w, err}
	}()
	code, release, err := r.code(ctx)
	got := <-next
	if code == nil { // refused, or ended without running
		if got.process != nil {
			r.pool.putBack(got.process)
		}
		return err
	}
	defer release()
	defer r.pool.Warm()
	if got.err != nil {
		return got.err
	}
	if err := got.group.Limit(Charge(uint64(r.task.MemoryMB)<<20, len(r.task.Module))); err != nil {
		got.end()
		return err
	}
	module, err := sealBytes("module", r.task.Module)
	if err != nil {
		got.end()
		return err
	}
	defer module.Close()
	got.key = r.key
	return r.on(ctx, got.process, []*os.File{module.File(), code.File()})
}

// on runs the task on a process, which it ends or puts to rest.
func (r *attempt) on(ctx context.Context, w *process, module []*os.File) error {
	kills, err := sandbox.OutOfMemoryKills()
	if err != nil {
		w.end()
		return err
	}
	if r.pipes == nil {
		if r.pipes, err = openPipes(r.task); err != nil {
			w.end()
			return err
		}
		r.pipes.begin(r.task.Stdin)
	}
	s := r.pipes
	type answer struct {
		report
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		o := order{Do: doRun, MemoryMB: r.task.MemoryMB, Cores: r.task.Cores, Args: r.task.Args, Env: r.task.Env}
		text, err := o.encode()
		if err == nil {
			err = w.channel.Send(text, append(s.worker[:], module...)...)
		}
		var a answer
		if err == nil {
			a.report, _, err = receive(w.channel, false)
		}
		a.err = err
		if err != nil || !a.Stale {
			s.sent() // else the next worker is given the same
		}
		answered <- a
	}()
	var got answer
	var stopped job.Outcome
	select {
	case got = <-answered:
		if got.err == nil && got.Stale {
			w.end()
			return errStale
		}
		select {
		case <-s.copied():
		case <-ctx.Done():
			// It has reported and holds on to its outputs.
		}
	case <-ctx.Done():
		w.cut()
		got = <-answered
		got.err = ctx.Err()
	case <-s.output.over:
		stopped = job.Output
		w.cut()
		got = <-answered
	}
	r.over = time.Now()
	rests := got.err == nil && stopped == "" && ctx.Err() == nil && got.Outcome == job.Exited && !s.output.exceeded() && len(r.task.Folders) == 0
	if !rests {
		w.cut()
		s.cut()
		defer r.pool.bury(w)
	}
	s.wait.Wait()
	if rests {
		r.pool.rest(w)
	}
	if s.output.exceeded() {
		stopped = job.Output // it may have ended before it could be killed
	}
	if stopped != "" {
		return r.ended(stopped, 0, "")
	}
	return r.judge(ctx, w, got.report, got.err, kills)
}

// judge says how the run ended. What this process did to the worker counts
// before what the worker reports.
func (r *attempt) judge(ctx context.Context, w *process, got report, lost error, kills uint64) error {
	switch {
	case lost != nil && ctx.Err() != nil:
		return ctx.Err()
	case lost != nil:
		return r.lost(w, lost, kills)
	case got.Stale:
		return errStale
	case got.Failed != "":
		return fmt.Errorf("running the job: %s", ui.Clean(got.Failed))
	case got.Refused != "":
		return fmt.Errorf("%w: %s", ErrRefused, ui.Clean(got.Refused))
	case got.Outcome == job.Exited || got.Outcome == job.Trapped || got.Outcome == job.Memory:
		return r.ended(got.Outcome, got.Code, got.Detail)
	default:
		return errors.New("running the job: the worker gave a report that makes no sense")
	}
}

// lost says why a worker ended without a report.
func (r *attempt) lost(w *process, err error, kills uint64) error {
	w.end()
	if w.overGroup || w.outOfMemory() {
		return r.ended(job.Memory, 0, "the worker reached its memory limit")
	}
	if now, counted := sandbox.OutOfMemoryKills(); w.killed() && counted == nil && now != kills {
		return r.ended(job.Memory, 0, "the machine ran out of memory")
	}
	return fmt.Errorf("running the job: the worker was lost: %w: %v%s", err, w.exit, w.lastWords())
}

// code returns the module's code, compiled here and now if need be, by one
// caller for all that wait for it. It is nil when there is an error, or when
// compiling has ended the task.
func (r *attempt) code(ctx context.Context) (*sandbox.Sealed, func(), error) {
	p, module := r.pool, r.key.module
	for {
		if code, release := p.cache.Get(module); code != nil {
			return code, release, nil
		}
		p.mu.Lock()
		flight, flying := p.flights[module]
		if !flying {
			flight = make(chan struct{})
			p.flights[module] = flight
		}
		p.mu.Unlock()
		if flying {
			select {
			case <-flight: // another may have failed for reasons of its own
				continue
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		}
		made, err := r.compile(ctx)
		var release func()
		if made != nil {
			made, release = p.cache.Put(module, made)
		}
		p.mu.Lock()
		delete(p.flights, module)
		close(flight)
		p.mu.Unlock()
		return made, release, err
	}
}

// compile has a process compile the module, and ends that process: code that
// another requester will run is made where nothing has run.
func (r *attempt) compile(ctx context.Context) (*sandbox.Sealed, error) {
	module, err := sealBytes("module", r.task.Module)
	if err != nil {
		return nil, err
	}
	defer module.Close()
	w, err := r.pool.take(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer r.pool.bury(w)
	kills, err := sandbox.OutOfMemoryKills()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, w.cut)
	defer stop()
	if err := w.group.Limit(Charge(0, len(r.task.Module))); err != nil {
		return nil, err
	}
	text, err := order{Do: doCompile, Cores: compilers}.encode()
	if err != nil {
		return nil, err
	}
	err = w.channel.Send(text, module.File())
	var got report
	var code *sandbox.Sealed
	if err == nil {
		got, code, err = receive(w.channel, true)
	}
	if err == nil && got.Outcome == job.Exited && code != nil {
		return code, nil
	}
	if code != nil {
		code.Close()
	}
	if err == nil && got.Outcome == job.Exited {
		return nil, errors.New("compiling the module: the worker gave no code")
	}
	return nil, r.judge(ctx, w, got, err, kills)
}

// compilers is how many cores compile one module, which others may wait for.
const compilers = 4

func sealBytes(name string, data []byte) (*sandbox.Sealed, error) {
	return sandbox.Seal(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
