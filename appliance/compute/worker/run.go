package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/worker/protocol"
)

// Errors of Run and Compile.
var (
	// ErrRefused: nothing of the module ran, because of what the module is.
	ErrRefused = errors.New("the module cannot be run")
	// ErrStale: the code was compiled for another processor or by another
	// version; the run may be repeated, with the same streams.
	ErrStale = errors.New("running the job: its compiled code does not fit this machine")
)

// Run is one run of a module in a process.
type Run struct {
	Args     []string // the program's name first
	Env      []string // NAME=VALUE
	MemoryMB int      // MiB of linear memory
	Cores    int
	Streams  *Streams
	// Module and Code are nil but for the first run of a process: it runs the
	// same module again.
	Module, Code *sandbox.Sealed
}

// End is how a run ended, or how compiling ended a run.
type End struct {
	Outcome  job.Outcome // Exited, Trapped, Memory or Output
	ExitCode uint32
	Detail   string    // for people; no control characters
	At       time.Time // when the module ended, however long its output takes to be read
	// Reusable says that the process may run the same module again, for the
	// same requester: it was given no folders, and the module has exited.
	Reusable bool
}

// compilers is how many cores compile one module, which others may wait for.
const compilers = 4

// answer is a report, or why there is none.
type answer struct {
	protocol.Report
	err error
}

// Run runs a module and waits for its end, at which a process that is not
// reusable has been killed. Ending ctx kills it: then, and only then, the error
// is that of ctx, and of End just At is set.
func (p *Process) Run(ctx context.Context, r Run) (End, error) {
	kills, err := sandbox.OutOfMemoryKills()
	if err == nil && r.Module != nil {
		err = p.group.Limit(charge(uint64(r.MemoryMB)<<20, r.Module.Size()))
	}
	if err != nil {
		p.cut()
		return End{}, err
	}
	answered := make(chan answer, 1)
	go func() { answered <- p.order(r) }()
	var got answer
	select {
	case got = <-answered:
		if got.err == nil && got.Stale {
			p.cut()
			return End{}, ErrStale
		}
		select {
		case <-r.Streams.copied():
		case <-ctx.Done():
			// It has reported and holds on to its outputs.
		}
	case <-ctx.Done():
		p.cut()
		got = <-answered
		got.err = ctx.Err()
	case <-r.Streams.output.over:
		p.cut()
		got = <-answered
	}
	end := End{At: time.Now()}
	end.Reusable = got.err == nil && ctx.Err() == nil && got.Outcome == job.Exited && !r.Streams.output.exceeded() && !p.folders
	if !end.Reusable {
		p.cut()
		r.Streams.cut()
	}
	r.Streams.wait.Wait()
	if r.Streams.output.exceeded() { // it may have ended before it could be killed
		return end.with(job.Output, 0, ""), nil
	}
	return p.judge(ctx, end, got, kills)
}

// order has the worker run the module, and returns its report.
func (p *Process) order(r Run) (a answer) {
	files := r.Streams.worker[:]
	if r.Module != nil {
		files = append(files[:3:3], r.Module.File(), r.Code.File())
	}
	a.Report, _, a.err = p.ask(protocol.Order{Do: protocol.Run, MemoryMB: r.MemoryMB, Cores: r.Cores, Args: protocol.Convert[[]byte](r.Args), Env: protocol.Convert[[]byte](r.Env)}, files, false)
	if a.err != nil || !a.Stale {
		r.Streams.Close() // else the next worker is given the same
	}
	return a
}

// Compile has a process compile a module, and returns the code; nil without an
// error when compiling has ended the run. The process is to be ended then: code
// is compiled where nothing has run.
func (p *Process) Compile(ctx context.Context, module *sandbox.Sealed) (*sandbox.Sealed, End, error) {
	kills, err := sandbox.OutOfMemoryKills()
	if err != nil {
		return nil, End{}, err
	}
	stop := context.AfterFunc(ctx, p.cut)
	defer stop()
	if err := p.group.Limit(charge(0, module.Size())); err != nil {
		return nil, End{}, err
	}
	var got answer
	var code *sandbox.Sealed
	got.Report, code, got.err = p.ask(protocol.Order{Do: protocol.Compile, Cores: compilers}, []*os.File{module.File()}, true)
	compiled := got.err == nil && got.Outcome == job.Exited
	switch {
	case compiled && code != nil:
		return code, End{}, nil
	case compiled:
		return nil, End{}, errors.New("compiling the module: the worker gave no code")
	case code != nil:
		code.Close()
	}
	end, err := p.judge(ctx, End{At: time.Now()}, got, kills)
	return nil, end, err
}

// with is the end with its outcome.
func (e End) with(o job.Outcome, code uint32, detail string) End {
	e.Outcome, e.ExitCode, e.Detail = o, o.ExitCode(code), ui.Clean(detail)
	return e
}

// judge says how the run ended. What this process did to the worker counts
// before what the worker reports.
func (p *Process) judge(ctx context.Context, end End, got answer, kills uint64) (End, error) {
	switch {
	case got.err != nil && ctx.Err() != nil:
		return end, ctx.Err()
	case got.err != nil:
		return p.lost(end, got.err, kills)
	case got.Failed != "":
		return End{}, fmt.Errorf("running the job: %s", ui.Clean(got.Failed))
	case got.Refused != "":
		return End{}, fmt.Errorf("%w: %s", ErrRefused, ui.Clean(got.Refused))
	case got.Outcome == job.Exited || got.Outcome == job.Trapped || got.Outcome == job.Memory:
		return end.with(got.Outcome, got.Code, got.Detail), nil
	default:
		return End{}, errors.New("running the job: the worker gave a report that makes no sense")
	}
}

// lost says why a worker ended without a report.
func (p *Process) lost(end End, err error, kills uint64) (End, error) {
	p.End()
	if p.overGroup || p.outOfMemory() {
		return end.with(job.Memory, 0, "the worker reached its memory limit"), nil
	}
	if now, counted := sandbox.OutOfMemoryKills(); p.killed() && counted == nil && now != kills {
		return end.with(job.Memory, 0, "the machine ran out of memory"), nil
	}
	return End{}, fmt.Errorf("running the job: the worker was lost: %w: %v%s", err, p.exit, p.complaint())
}
