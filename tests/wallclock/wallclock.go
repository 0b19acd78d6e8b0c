// Package wallclock runs a program, and all that it starts, under another date,
// to show that nothing of the clock gets into what they make. Preloading a library
// does not reach Go programs, which ask the kernel without libc, and a time
// namespace moves the other clocks alone. So the program is traced (ptrace(2)):
// it is told of no vDSO, from which it would read the time without a system call,
// and the calls that remain are answered here. Other clocks and the times of files
// stay as they are.
package wallclock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Here says whether this machine can do it.
const Here = runtime.GOARCH == "amd64"

// Command is a program to run.
type Command struct {
	Path   string   // of the file
	Args   []string // the first is the program's name
	Dir    string
	Env    []string // all of it
	Output *os.File // of both streams
	User   *syscall.Credential
}

// Run runs the program as if it was at, from then on at the usual pace, until it
// ends. What it left running ends too. The end of ctx kills it.
func Run(ctx context.Context, c Command, at time.Time) error {
	done := make(chan error)
	go func() {
		// All of ptrace is for one thread, and so is the filter, which those that
		// it starts inherit. It is never unlocked, so it ends with this function.
		runtime.LockOSThread()
		done <- run(ctx, c, at)
	}()
	return <-done
}

func run(ctx context.Context, c Command, at time.Time) error {
	if err := filterThread(); err != nil {
		return fmt.Errorf("filtering system calls: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(c.Path, c.Args, &os.ProcAttr{
		Dir: c.Dir, Env: c.Env, Files: []*os.File{null, c.Output, c.Output},
		Sys: &syscall.SysProcAttr{Ptrace: true, Credential: c.User, Setpgid: true},
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() }) // it may have ended by itself
	defer stop()
	status, err := trace(p.Pid, func() time.Time { return at })
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil && (!status.Exited() || status.ExitStatus() != 0) {
		err = fmt.Errorf("%s: exit code %d, signal %d", c.Args[0], status.ExitStatus(), status.Signal())
	}
	return errors.Join(err, p.Release())
}

const options = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
	unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

// trace answers for a program, which is stopped at its first instruction, and all
// that it starts, until it ends.
func trace(first int, now func() time.Time) (unix.WaitStatus, error) {
	began := time.Now()
	at := now()
	seen := map[int]bool{} // threads: each begins with a stop
	for {
		var status unix.WaitStatus
		// Of this thread alone: other children are not ours to wait for.
		pid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return status, fmt.Errorf("waiting for a traced program: %w", err)
		}
		if !status.Stopped() {
			delete(seen, pid)
			if pid == first {
				return status, nil
			}
			continue
		}
		signal := 0
		switch event := status.TrapCause(); {
		case !seen[pid]:
			seen[pid] = true
			if pid == first {
				if err = unix.PtraceSetOptions(pid, options); err == nil {
					err = hideVDSO(pid)
				}
			}
		case event == unix.PTRACE_EVENT_EXEC:
			err = hideVDSO(pid)
		case event == unix.PTRACE_EVENT_SECCOMP:
			err = answer(pid, at.Add(time.Since(began)))
		case event <= 0 && status.StopSignal() != unix.SIGTRAP:
			signal = int(status.StopSignal())
		}
		if err == nil {
			err = unix.PtraceCont(pid, signal)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // killed meanwhile
			return status, fmt.Errorf("tracing process %d: %w", pid, err)
		}
	}
}
