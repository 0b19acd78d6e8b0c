// Package scheduler runs jobs in worker processes: it takes one from a pool that was
// started ahead, hands it the module, compiled, and what the module may see,
// passes the streams through, kills it with SIGKILL at its deadline or when it
// says too much, and tells how it ended. Execute adds what makes a run a job:
// the job file, and the signed receipt.
package scheduler

import (
	"context"
	"errors"
	"io"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
)

// Task is one run of a module under its limits.
type Task struct {
	// Requester is whose task it is, in any form that tells requesters apart. A
	// worker process that has run something for one is never used for another.
	Requester string

	Module  []byte
	Args    []string // the program's name first
	Env     []string // NAME=VALUE
	Folders []Folder // a task with folders has a process to itself

	MemoryMB    int           // MiB
	Timeout     time.Duration // from the call of Run, compiling included
	OutputBytes int64         // stdout and stderr together; 0 is no limit
	Cores       int

	// Stdin nil is empty. An *os.File is handed to the worker as it is;
	// everything else is copied, and where OutputBytes is a limit, outputs are
	// always copied. A Stdin that blocks may still be read once when the run
	// has ended.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	digest *modulecache.Digest // of Module, where it is known already
}

// Folder gives the module the directory Host under the name Guest.
type Folder struct {
	Host, Guest string
	ReadOnly    bool
}

// Result is how a run ended. Detail is for people.
type Result struct {
	Outcome           job.Outcome
	ExitCode          uint32
	Detail            string
	Started, Finished time.Time
}

// ErrRefused is in the error of Run when nothing of the module ran because of
// what the module is: no module, invalid, too large, importing what is not there.
var ErrRefused = errors.New("the module cannot be run")

// Run runs a task in worker processes of its own and waits for its end, as a
// Pool's Run does; of their memory the last may be given back a moment later.
func Run(ctx context.Context, t Task) (Result, error) {
	p, err := NewPool(PoolConfig{})
	if err != nil {
		return Result{}, err
	}
	defer p.Leave()
	return p.Run(ctx, t)
}
