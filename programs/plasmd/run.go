package plasmd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/wasm"
	"phase/appliance/compute/worker"
)

// workerName is the first argument that makes plasmd a worker process. It is
// looked at before the command line is parsed, and stands in no help text.
const workerName = "worker"

// runWorker is the life of a worker process.
func runWorker(ctx context.Context) error {
	if code := worker.Main(ctx); code != 0 {
		return program.Exit{Code: code}
	}
	return nil
}

// runCmd runs a module here. What comes after WASM is the module's.
type runCmd struct {
	Dir     []string `placeholder:"HOST[:GUEST[:ro]]" sep:"none" help:"Give the module a folder, read-only with :ro. GUEST is what the module calls it, HOST if left out (/ for a dot)."`
	Memory  int      `placeholder:"MB" default:"512" range:"1-4096" help:"MiB of memory the module may have, 1 to 4096."`
	Timeout limit    `placeholder:"D" default:"60s" help:"Kill the module after this time (90s, 5m, or a number of seconds; at most 1h)."`
	Env     []string `placeholder:"K=V" sep:"none" help:"Set a variable in the module's environment."`
	Receipt string   `placeholder:"F" help:"Write a signed receipt of the run to this file."`
	Quiet   bool     `short:"q" help:"Write nothing of plasmd's own to standard error but errors."`
	Command []string `arg:"" name:"wasm" passthrough:"" help:"The module, and its arguments."`
}

// limit is a time on the command line: a duration, or a number of seconds.
type limit time.Duration

// UnmarshalText reads "90s", "1m30s" or "90".
func (l *limit) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if seconds, number := strconv.ParseFloat(string(text), 64); number == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d < time.Millisecond || d > job.MaxTimeoutSeconds*time.Second {
		return fmt.Errorf("%.40q is not a time from 1ms to 1h, like 90s or 5m", text)
	}
	*l = limit(d)
	return nil
}

func (c *runCmd) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	if c.Quiet {
		before := slog.Default()
		slog.SetDefault(slog.New(errorsOnly{before.Handler()}))
		defer slog.SetDefault(before)
	}
	task, err := c.task()
	if err != nil {
		return err
	}
	task.Stdin, task.Stdout, task.Stderr = stdin, stdout, stderr
	var result scheduler.Result
	if c.Receipt == "" {
		result, err = runHere(ctx, task)
	} else {
		result, err = c.attested(ctx, task)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", ui.Clean(c.Command[0]), err)
	}
	// Standard error is the module's, byte for byte; only a person at a
	// terminal is told why it ended.
	if result.Outcome != job.Exited && !c.Quiet && ui.IsTerminal(stderr) {
		fmt.Fprintf(stderr, "plasmd: %s: %s %s\n", ui.Clean(c.Command[0]), result.Outcome, result.Detail)
	}
	if result.ExitCode == 0 {
		return nil
	}
	return program.Exit{Code: int(uint8(result.ExitCode))} // as the kernel cuts it
}

// errorsOnly logs errors and nothing less.
type errorsOnly struct{ slog.Handler }

func (errorsOnly) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

// task turns the command line into a task, reading the module.
func (c *runCmd) task() (scheduler.Task, error) {
	t := scheduler.Task{MemoryMB: c.Memory, Timeout: time.Duration(c.Timeout), Cores: job.DefaultCPUCores, Env: c.Env}
	for _, v := range c.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return scheduler.Task{}, program.Usagef("--env %.80q is not NAME=VALUE", v)
		}
	}
	for _, text := range c.Dir {
		folder, err := parseFolder(text)
		if err != nil {
			return scheduler.Task{}, err
		}
		t.Folders = append(t.Folders, folder)
	}
	ended := c.Command[0] == "--" // flags end here, too
	if ended {
		c.Command = c.Command[1:]
	}
	if len(c.Command) == 0 {
		return scheduler.Task{}, program.Usagef("the module is missing")
	}
	name := c.Command[0]
	if strings.HasPrefix(name, "-") && !ended {
		return scheduler.Task{}, program.Usagef("unknown flag %.80s; a module of that name is ./%.80s", ui.Clean(name), ui.Clean(name))
	}
	t.Args = append([]string{filepath.Base(name)}, c.Command[1:]...)
	f, err := os.Open(name)
	if err != nil {
		return scheduler.Task{}, fmt.Errorf("reading the module: %w", err)
	}
	defer f.Close()
	module, err := io.ReadAll(io.LimitReader(f, wasm.MaxModule+1))
	if err != nil {
		return scheduler.Task{}, fmt.Errorf("reading the module: %w", err)
	}
	t.Module = modulecache.NewModule(module)
	return t, nil
}

// parseFolder reads HOST[:GUEST[:ro]]; an empty GUEST is HOST, but for "." it is
// "/": a module's own folder is that, and not all languages' libraries find
// their way from a relative one.
func parseFolder(text string) (worker.Folder, error) {
	parts := strings.Split(text, ":")
	f := worker.Folder{Host: parts[0], Guest: parts[0]}
	if len(parts) > 1 && parts[1] != "" {
		f.Guest = parts[1]
	} else if filepath.Clean(f.Host) == "." {
		f.Guest = "/"
	}
	f.ReadOnly = len(parts) == 3 && parts[2] == "ro"
	if f.Host == "" || len(parts) > 3 || len(parts) == 3 && !f.ReadOnly {
		return worker.Folder{}, program.Usagef("--dir %.200q is not HOST[:GUEST[:ro]]", text)
	}
	return f, nil
}

// jobOf is the job that a task is, without its input. A job's time is in whole
// seconds, rounded up.
func jobOf(t scheduler.Task) job.Job {
	j := job.Default(nil)
	j.ModuleHash = t.Module.Digest().String()
	j.CPUCores, j.MemoryMB, j.Args, j.Env = t.Cores, t.MemoryMB, t.Args[1:], map[string]string{}
	j.TimeoutSeconds = int(math.Ceil(t.Timeout.Seconds()))
	for _, v := range t.Env {
		name, value, _ := strings.Cut(v, "=")
		j.Env[name] = value
	}
	return j
}

// attested runs the task and writes the receipt of what went in and out of it.
// A run is no offer, so the nonce is its own; the limits are those applied.
func (c *runCmd) attested(ctx context.Context, t scheduler.Task) (scheduler.Result, error) {
	id, err := laptopIdentity()
	if err != nil {
		return scheduler.Result{}, err
	}
	spec, err := job.New(jobOf(t))
	if err != nil {
		return scheduler.Result{}, err
	}
	place, err := openReceipt(c.Receipt)
	if err != nil {
		return scheduler.Result{}, err
	}
	defer place.drop()
	in, out, errs := newSummed(), newSummed(), newSummed()
	stdout, stderr := &passed{of: out, to: t.Stdout}, &passed{of: errs, to: t.Stderr}
	t.Stdin, t.Stdout, t.Stderr = io.TeeReader(t.Stdin, in), stdout, stderr
	// The module learns that its reader has gone; this process has a receipt to
	// write and does not die of it. Notify, unlike Ignore, is not inherited.
	gone := make(chan os.Signal, 1)
	signal.Notify(gone, syscall.SIGPIPE)
	defer signal.Stop(gone)
	result, err := runHere(ctx, t)
	if err != nil {
		return scheduler.Result{}, err
	}
	limits := receipt.Limits{CPUCores: t.Cores, MemoryMB: t.MemoryMB, TimeoutSeconds: t.Timeout.Seconds()}
	signed, err := scheduler.Attest(id, scheduler.NewRunID(), spec, scheduler.NewNonce(), limits, result, scheduler.Sums{Stdin: in.sum(), Stdout: out.sum(), Stderr: errs.sum()})
	if err != nil {
		return scheduler.Result{}, err
	}
	return result, errors.Join(place.put(append(signed, '\n')), stdout.err, stderr.err)
}

// summed hashes what passes; the reader of standard input may still hold it
// when the run has ended.
type summed struct {
	mu   sync.Mutex
	hash hash.Hash
}

func newSummed() *summed { return &summed{hash: sha256.New()} }

func (s *summed) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hash.Write(p)
}

func (s *summed) sum() (sum [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hash.Sum(sum[:0])
	return sum
}

// passed hashes what a module writes and passes it on. err is why some of it
// did not arrive, unless its reader is gone: the module gets that error itself,
// and may go on.
type passed struct {
	of  *summed
	to  io.Writer
	err error
}

func (p *passed) Write(b []byte) (int, error) {
	p.of.Write(b) // a hash takes everything
	n, err := p.to.Write(b)
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		p.err = fmt.Errorf("passing on the output: %w", err)
	}
	return n, err
}
