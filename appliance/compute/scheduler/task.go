package scheduler

import (
	"context"
	"io"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/worker"
)

// Task is one run of a module under its limits.
type Task struct {
	// Requester is whose task it is, in any form that tells requesters apart.
	// Nothing that is kept for one is used for another: neither a process that
	// has run something, nor a compiled module.
	Requester string

	Module  *modulecache.Module
	Args    []string        // the program's name first
	Env     []string        // NAME=VALUE
	Folders []worker.Folder // a task with folders has a process to itself

	MemoryMB    int           // MiB
	Timeout     time.Duration // from the call of Run, compiling included
	OutputBytes int64         // stdout and stderr together; 0 is no limit
	Cores       int

	// See worker.OpenStreams.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Result is how a run ended. Detail is for people.
type Result struct {
	Outcome           job.Outcome
	ExitCode          uint32
	Detail            string
	Started, Finished time.Time
}

// Run runs a task in worker processes of its own and waits for its end, as a
// Pool's Run does; of their memory the last may be given back a moment later.
func Run(ctx context.Context, t Task) (Result, error) {
	p := NewPool(PoolConfig{})
	defer p.Leave()
	return p.Run(ctx, t)
}
