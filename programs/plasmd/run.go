package plasmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/wasm"
	"phase/appliance/compute/worker"
)

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
		defer program.Quiet(slog.LevelError)()
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
	module, err := statefile.ReadCapped(name, wasm.MaxModule)
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
	spec, err := job.New(jobOf(t))
	if err != nil {
		return scheduler.Result{}, err
	}
	place, err := openReceipt(c.Receipt)
	if err != nil {
		return scheduler.Result{}, err
	}
	defer place.drop()
	runner, _, leave, err := runnerHere()
	if err != nil {
		return scheduler.Result{}, err
	}
	defer leave()
	stdout, stderr := &passed{to: t.Stdout}, &passed{to: t.Stderr}
	// The module learns that its reader has gone; this process has a receipt to
	// write and does not die of it. Notify, unlike Ignore, is not inherited.
	gone := make(chan os.Signal, 1)
	signal.Notify(gone, syscall.SIGPIPE)
	defer signal.Stop(gone)
	done, err := runner.Attest(ctx, scheduler.Offer{
		Spec: spec, Nonce: scheduler.NewNonce(), Input: newIncoming(t.Stdin, func() {}), Stdout: stdout, Stderr: stderr,
	}, t)
	if err != nil {
		return scheduler.Result{}, err
	}
	return done.Result, errors.Join(place.put(append(done.Receipt, '\n')), stdout.err, stderr.err)
}

// passed passes on what a module writes. err is why some of it did not arrive,
// unless its reader is gone: the module gets that error itself, and may go on.
type passed struct {
	to  io.Writer
	err error
}

func (p *passed) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		p.err = fmt.Errorf("passing on the output: %w", err)
	}
	return n, err
}
