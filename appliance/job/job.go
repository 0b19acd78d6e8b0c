// Package job runs jobs in worker processes: it starts one, hands it the module
// and what the module may see, passes the streams through, kills it with
// SIGKILL at its deadline or when it says too much, and tells how it ended.
// Execute adds what makes a run a job: the job file, and the signed receipt.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"phase/appliance/jobspec"
	"phase/appliance/sandbox"
	"phase/appliance/ui"
	"phase/appliance/wasm"
)

// Task is one run of a module under its limits.
type Task struct {
	Module  []byte
	Args    []string // the program's name first
	Env     []string // NAME=VALUE
	Folders []Folder

	MemoryMB    int           // MiB
	Timeout     time.Duration // from the start of the worker, compiling included
	OutputBytes int64         // stdout and stderr together; 0 is no limit
	Cores       int

	// Stdin nil is empty. An *os.File is handed to the worker as it is;
	// everything else is copied, and where OutputBytes is a limit, outputs are
	// always copied. A Stdin that blocks may still be read once when the run
	// has ended.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Folder gives the module the directory Host under the name Guest.
type Folder struct {
	Host, Guest string
	ReadOnly    bool
}

// Result is how a run ended. Detail is for people.
type Result struct {
	Outcome           jobspec.Outcome
	ExitCode          uint32
	Detail            string
	Started, Finished time.Time
}

// ErrRefused is in the error of Run when nothing of the module ran because of
// what the module is: no module, invalid, too large, importing what is not there.
var ErrRefused = errors.New("the module cannot be run")

// Worker programs: the first word of a worker's command line is its name, the
// second makes plasmd a worker.
var workerArgs = []string{"plasmd", "worker"}

// Run runs a task in a worker process of its own and waits for its end. Ending
// ctx cancels it. An error means that the task did not run or that the worker
// was lost; however the module itself ends is a Result.
func Run(ctx context.Context, t Task) (Result, error) {
	if _, err := wasm.Inspect(t.Module); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	w, err := prepare(t)
	if err != nil {
		return Result{}, err
	}
	defer w.closeAll()
	kills, err := sandbox.OutOfMemoryKills()
	if err != nil {
		return Result{}, err
	}
	result := Result{Started: time.Now()}
	deadline := time.NewTimer(t.Timeout)
	defer deadline.Stop()
	ended, err := sandbox.Start(w.cmd)
	if err != nil {
		return Result{}, err
	}
	w.begin(t)

	var stopped jobspec.Outcome
	var exit error
	select {
	case exit = <-ended:
	case <-deadline.C:
		stopped = jobspec.Timeout
	case <-w.output.over:
		stopped = jobspec.Output
	case <-ctx.Done():
		stopped = jobspec.Cancelled
	}
	if stopped != "" {
		// It can only fail when the worker has just ended by itself.
		_ = w.cmd.Process.Kill()
		exit = <-ended
	}
	// By the monotonic clock, so that a wall clock set back does not have a job
	// end before it began.
	result.Finished = result.Started.Add(time.Since(result.Started))
	report, diagnosis := w.finish()
	if stopped == "" && w.output.exceeded() {
		stopped = jobspec.Output // it ended before it could be killed
	}
	return judge(result, stopped, report, diagnosis, exit, kills)
}

// judge says how the run ended. What this process did to the worker counts
// before what the worker reports.
func judge(result Result, stopped jobspec.Outcome, text []byte, diagnosis string, exit error, kills uint64) (Result, error) {
	var r report
	reported := json.Unmarshal(text, &r) == nil
	switch {
	case stopped != "":
		result.Outcome = stopped
	case reported && r.Refused != "":
		return Result{}, fmt.Errorf("%w: %s", ErrRefused, ui.Clean(r.Refused))
	case reported && (r.Outcome == jobspec.Exited || r.Outcome == jobspec.Trapped || r.Outcome == jobspec.Memory):
		result.Outcome, result.Detail = r.Outcome, ui.Clean(r.Detail)
	case strings.Contains(diagnosis, "out of memory"), strings.Contains(diagnosis, "cannot allocate memory"), strings.Contains(diagnosis, "errno=12"):
		// Go's own words when the kernel gives it no more.
		result.Outcome, result.Detail = jobspec.Memory, "the worker reached its memory limit"
	case killed(exit):
		now, err := sandbox.OutOfMemoryKills()
		if err != nil || now == kills {
			return Result{}, errors.New("running the job: somebody killed the worker")
		}
		result.Outcome, result.Detail = jobspec.Memory, "the machine ran out of memory"
	default:
		first, _, _ := strings.Cut(diagnosis, "\n")
		return Result{}, fmt.Errorf("running the job: the worker died: %v: %s", exit, ui.Clean(first))
	}
	result.ExitCode = result.Outcome.ExitCode(r.Code)
	return result, nil
}

func killed(exit error) bool {
	var e *exec.ExitError
	if !errors.As(exit, &e) {
		return false
	}
	status, ok := e.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// process is a worker and this side of its pipes.
type process struct {
	cmd       *exec.Cmd
	order     []byte
	toClose   []*os.File // the worker's ends; ours are closed by who uses them
	stdin     *os.File   // nil where nothing is copied
	orderPipe *os.File
	report    *os.File
	diagnosis *os.File
	output    *meter
	copies    []copying
	wait      sync.WaitGroup

	reportText, diagnosisText []byte
}

type copying struct {
	from *os.File
	to   io.Writer
}

// prepare opens all that the worker is given.
func prepare(t Task) (_ *process, err error) {
	w := &process{
		cmd:    &exec.Cmd{Path: "/proc/self/exe", Args: workerArgs},
		output: newMeter(t.OutputBytes),
	}
	o := order{Args: t.Args, Env: t.Env, MemoryMB: t.MemoryMB, Cores: t.Cores, ModuleSize: len(t.Module)}
	defer func() {
		if err != nil {
			w.closeAll()
			for _, f := range []*os.File{w.stdin, w.orderPipe, w.report, w.diagnosis} {
				f.Close()
			}
			for _, c := range w.copies {
				c.from.Close()
			}
		}
	}()
	pipe := func(theirsReads bool) (theirs, ours *os.File) {
		if err != nil {
			return nil, nil
		}
		var r, out *os.File
		if r, out, err = os.Pipe(); err != nil {
			return nil, nil
		}
		if theirs, ours = out, r; theirsReads {
			theirs, ours = r, out
		}
		w.toClose = append(w.toClose, theirs)
		return theirs, ours
	}
	stream := func(to io.Writer) *os.File {
		if f, ok := to.(*os.File); ok && t.OutputBytes == 0 {
			return f
		}
		theirs, ours := pipe(false)
		w.copies = append(w.copies, copying{ours, to})
		return theirs
	}
	if f, ok := t.Stdin.(*os.File); ok {
		w.cmd.Stdin = f
	} else if t.Stdin != nil {
		var theirs *os.File
		theirs, w.stdin = pipe(true)
		w.cmd.Stdin = theirs
	}
	w.cmd.Stdout = stream(t.Stdout)
	stderr := stream(t.Stderr)
	var order, report, diagnosis *os.File
	order, w.orderPipe = pipe(true)
	report, w.report = pipe(false)
	diagnosis, w.diagnosis = pipe(false)
	if err != nil {
		return nil, fmt.Errorf("opening the worker's pipes: %w", err)
	}
	w.cmd.Stderr = diagnosis
	w.cmd.ExtraFiles = []*os.File{order, report, stderr}
	for _, f := range t.Folders {
		var dir *os.File
		dir, err = os.OpenFile(f.Host, os.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			return nil, fmt.Errorf("opening a folder for the module: %w", err)
		}
		w.toClose = append(w.toClose, dir)
		w.cmd.ExtraFiles = append(w.cmd.ExtraFiles, dir)
		o.Folders = append(o.Folders, orderFolder{f.Guest, f.ReadOnly})
	}
	if w.order, err = o.encode(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *process) closeAll() {
	for _, f := range w.toClose {
		f.Close()
	}
	w.toClose = nil
}

// Caps on what is read from a worker that may have been taken over.
const (
	maxReport    = 64 << 10
	maxDiagnosis = 64 << 10
)

// begin serves the pipes of a worker that has been started.
func (w *process) begin(t Task) {
	w.closeAll() // so that the pipes end when the worker does
	if w.stdin != nil {
		// Nobody waits for this one: the reader may be blocked for ever.
		go func() {
			defer w.stdin.Close()
			_, _ = io.Copy(w.stdin, t.Stdin) // what the module does not read is lost
		}()
	}
	w.wait.Go(func() {
		defer w.orderPipe.Close()
		// A worker that stops reading is dead; its end says more than EPIPE.
		if _, err := w.orderPipe.Write(w.order); err == nil {
			_, _ = w.orderPipe.Write(t.Module)
		}
	})
	w.wait.Go(func() { w.reportText = drain(w.report, maxReport) })
	w.wait.Go(func() { w.diagnosisText = drain(w.diagnosis, maxDiagnosis) })
	for _, c := range w.copies {
		w.wait.Go(func() {
			defer c.from.Close()
			// When whoever reads the output has gone, closing our end tells
			// the module, as it would without us.
			_, _ = io.Copy(w.output.writer(c.to), c.from)
		})
	}
}

// finish waits for the pipes of a worker that has ended.
func (w *process) finish() (report []byte, diagnosis string) {
	w.wait.Wait()
	return w.reportText, string(w.diagnosisText)
}

// drain reads a pipe to its end and keeps the first limit bytes.
func drain(f *os.File, limit int64) []byte {
	defer f.Close()
	kept, _ := io.ReadAll(io.LimitReader(f, limit))
	_, _ = io.Copy(io.Discard, f)
	return kept
}
