// Package tasks runs the long-lived parts of a daemon side by side, from one
// table: serving HTTP, hashing what is held, announcing it, the queue of jobs.
package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Task is one long-lived part of a daemon.
type Task interface {
	// Run does the work until ctx ends, and returns nil then. A task that
	// returns earlier, with an error or without, ends the daemon.
	Run(ctx context.Context) error
	// Ready is closed once others can rely on what the task does.
	Ready() <-chan struct{}
}

// Row is one task of a table. A row whose Task is nil is left out.
type Row struct {
	Name string
	// After, if not nil, must be ready before the task is run.
	After Task
	Task  Task
	// Last has its context end when all the others have ended: whoever asks is
	// answered until then.
	Last bool
}

// Run runs the tasks of a table until ctx ends or one of them does: the end of
// one is the end of all. It returns when all have ended, with what went wrong
// in any of them after its name.
func Run(ctx context.Context, table []Row) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	failed := make([]error, len(table))
	var others, last sync.WaitGroup
	for i, row := range table {
		if row.Task == nil {
			continue
		}
		group, of := &others, ctx
		if row.Last {
			group, of = &last, late
			others.Go(func() { <-ctx.Done() })
		}
		group.Go(func() {
			defer cancel()
			if err := row.run(of); err != nil {
				failed[i] = fmt.Errorf("%s: %w", row.Name, err)
			}
		})
	}
	others.Wait()
	end()
	last.Wait()
	return errors.Join(failed...)
}

// run runs the task once the one before it is ready.
func (r Row) run(ctx context.Context) error {
	if r.After != nil {
		select {
		case <-r.After.Ready():
		case <-ctx.Done():
			return nil
		}
	}
	return r.Task.Run(ctx)
}

// New makes a task of a function, which calls ready when the task is, once or
// more.
func New(run func(ctx context.Context, ready func()) error) Task {
	t := &task{run: run, ready: make(chan struct{})}
	t.isReady = sync.OnceFunc(func() { close(t.ready) })
	return t
}

type task struct {
	run     func(ctx context.Context, ready func()) error
	ready   chan struct{}
	isReady func()
}

func (t *task) Run(ctx context.Context) error { return t.run(ctx, t.isReady) }
func (t *task) Ready() <-chan struct{}        { return t.ready }

// Once is a task that calls do and is ready then.
func Once(do func()) Task {
	return New(func(ctx context.Context, ready func()) error {
		do()
		ready()
		<-ctx.Done()
		return nil
	})
}
