package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/wasm"
	"phase/appliance/compute/worker"
)

// Run runs a task and waits for its end. Ending ctx cancels it. An error means
// that the task did not run or that the worker was lost; it wraps
// worker.ErrRefused when that is because of what the module is. However the
// module itself ends is a Result.
func (p *Pool) Run(ctx context.Context, t Task) (Result, error) {
	info, err := t.Module.Inspect()
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", worker.ErrRefused, err)
	}
	r := &attempt{pool: p, task: t, key: key{t.Requester, t.Module.Digest(), t.MemoryMB, t.Cores}}
	started := time.Now()
	limited, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	defer func() {
		if r.streams != nil {
			r.streams.Close()
		}
	}()
	var end worker.End
	if wants := info.MemoryPages * wasm.PageSize; wants > uint64(t.MemoryMB)<<20 {
		end.Outcome, end.Detail = job.Memory, fmt.Sprintf("it starts with %d MiB of memory, %d are allowed", wants>>20, t.MemoryMB)
	} else {
		end, err = r.run(limited)
		if errors.Is(err, worker.ErrStale) {
			p.config.Cache.Forget(t.Requester, r.key.module)
			end, err = r.run(limited)
		}
	}
	switch {
	case end.Outcome != "":
	case ctx.Err() != nil:
		end.Outcome, err = job.Cancelled, nil
	case limited.Err() != nil:
		end.Outcome, err = job.Timeout, nil
	}
	if err != nil {
		return Result{}, err
	}
	if end.At.IsZero() { // it ended without running
		end.At = time.Now()
	}
	// By the monotonic clock, so that a wall clock set back does not have a job
	// end before it began.
	finished := started.Add(end.At.Sub(started))
	return Result{end.Outcome, end.Outcome.ExitCode(end.ExitCode), end.Detail, started, finished}, nil
}

// attempt is one task on its way. When ctx ends, its methods return the error
// of that.
type attempt struct {
	pool    *Pool
	task    Task
	key     key
	streams *worker.Streams // once they are open; they outlive a worker that could not begin
}

func (r *attempt) run(ctx context.Context) (worker.End, error) {
	if len(r.task.Folders) == 0 {
		if w := r.pool.again(r.key); w != nil {
			return r.on(ctx, w, modulecache.Compiled{})
		}
	}
	// The process may need as long to start as the code to be found.
	type taken struct {
		*worker.Process
		err error
	}
	next := make(chan taken, 1)
	go func() {
		w, err := r.pool.take(ctx, r.task.Folders)
		next <- taken{w, err}
	}()
	var end worker.End // by compiling
	compiled, release, err := r.pool.config.Cache.Use(ctx, r.key.requester, r.key.module, func() (made *modulecache.Compiled, err error) {
		made, end, err = r.compile(ctx)
		return made, err
	})
	got := <-next
	if release == nil {
		if got.Process != nil {
			r.pool.putBack(got.Process)
		}
		return end, err
	}
	defer release()
	defer r.pool.Warm()
	if got.err != nil {
		return worker.End{}, got.err
	}
	return r.on(ctx, got.Process, compiled)
}

// on runs the task on a process, which is kept for the next like it or ended.
func (r *attempt) on(ctx context.Context, w *worker.Process, c modulecache.Compiled) (end worker.End, err error) {
	if r.streams == nil {
		if r.streams, err = worker.OpenStreams(r.task.Stdin, r.task.Stdout, r.task.Stderr, r.task.OutputBytes); err != nil {
			w.End()
			return worker.End{}, err
		}
	}
	end, err = w.Run(ctx, worker.Run{
		Args: r.task.Args, Env: r.task.Env, MemoryMB: r.task.MemoryMB, Cores: r.task.Cores,
		Streams: r.streams, Module: c.Module, Code: c.Code,
	})
	if end.Reusable {
		r.pool.rest(w, r.key)
	} else {
		r.pool.bury(w)
	}
	return end, err
}

// compile has a process compile the module, and ends that process. Nothing is
// made where compiling ends the task.
func (r *attempt) compile(ctx context.Context) (_ *modulecache.Compiled, end worker.End, err error) {
	module, err := sandbox.Seal("module", bytes.NewReader(r.task.Module.Bytes()))
	if err != nil {
		return nil, worker.End{}, err
	}
	defer func() {
		if err != nil || end.Outcome != "" {
			module.Close()
		}
	}()
	w, err := r.pool.take(ctx, nil)
	if err != nil {
		return nil, worker.End{}, err
	}
	defer r.pool.bury(w)
	r.pool.compiled.Add(1)
	code, end, err := w.Compile(ctx, module)
	if code == nil {
		return nil, end, err
	}
	return &modulecache.Compiled{Module: module, Code: code}, end, nil
}
