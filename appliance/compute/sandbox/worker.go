// Package sandbox builds the walls around a worker, the process that runs other
// people's code: what it inherits, how much memory it may have, which system
// calls it may make and which part of the file system it can reach. The kernel
// enforces them; nothing here trusts the worker once it has begun to run a job.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Start starts a worker process that inherits nothing but the streams and
// ExtraFiles of cmd: no environment, no other descriptor of this process or of
// its parents, no right to gain privileges. The worker is killed when this
// process dies. It begins in a control group, unless that is nil. The error of
// its end is sent to the channel, once.
func Start(cmd *exec.Cmd, group *Cgroup) (<-chan error, error) {
	cmd.Env = []string{}
	// In a session of its own it does not get the terminal's signals, and the
	// kernel's scheduler (autogroup) counts its processor time separately from
	// that of this process, which must be on time to kill it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	group.enter(cmd.SysProcAttr)
	// What a parent of ours left open without close-on-exec would reach the
	// worker: mark everything but the standard streams. Go's own descriptors
	// are marked already, and exec.Cmd clears the mark on those it hands on.
	if err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("closing inherited descriptors (Linux 5.11 or newer is needed): %w", err)
	}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// Both are properties of a thread: no_new_privs passes to what the
		// thread starts, and the kernel sends the death signal when the thread
		// ends. So one thread starts the worker, waits for it, and, never
		// unlocked, ends with this goroutine.
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			started <- fmt.Errorf("giving up new privileges: %w", err)
			return
		}
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	return ended, nil
}

// Pin returns a path by which Start starts a program from this very file, whatever
// lies at its own path by then. It stays open until this process ends.
func Pin(program *os.File) (string, error) {
	// Higher than the descriptors that are put in their places before a program
	// is started.
	const beyond = 64
	fd, err := unix.FcntlInt(program.Fd(), unix.F_DUPFD_CLOEXEC, beyond)
	if err != nil {
		return "", fmt.Errorf("keeping %s open: %w", program.Name(), err)
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), nil
}

// maxOpen is how many files a worker may have open.
const maxOpen = 4096

// limits are those that are the same for every worker: it leaves no core file,
// it opens so many files and no more, and it is the first process the kernel
// kills when the machine runs out of memory.
func limits() error {
	if err := errors.Join(limit("RLIMIT_CORE", unix.RLIMIT_CORE, 0), limit("RLIMIT_NOFILE", unix.RLIMIT_NOFILE, maxOpen)); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		return fmt.Errorf("offering the worker to the kernel's memory killer: %w", err)
	}
	return nil
}

// LimitData is called by the worker before it reads an untrusted byte:
// its data (Go's heap, code and linear memory; shared and file mappings
// are not counted) may grow to so many bytes and no further.
func LimitData(bytes uint64) error {
	return limit("RLIMIT_DATA", unix.RLIMIT_DATA, bytes)
}

// LimitTime has the kernel kill this process once it has taken so much of the
// processor's time, in whole seconds.
func LimitTime(most time.Duration) error {
	return limit("RLIMIT_CPU", unix.RLIMIT_CPU, uint64(most/time.Second))
}

func limit(name string, resource int, value uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	value = min(value, now.Max) // a tighter limit from outside stays
	if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value}); err != nil {
		return fmt.Errorf("setting %s: %w", name, err)
	}
	return nil
}

// OutOfMemoryKills returns how many processes the kernel has killed for want of
// memory since it booted.
func OutOfMemoryKills() (uint64, error) { return memoryKills("/proc/vmstat") }

// memoryKills returns the number behind oom_kill in a file of the kernel's.
func memoryKills(file string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("reading the kernel's count of memory kills: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.ParseUint(strings.TrimSpace(count), 10, 64)
		}
	}
	return 0, fmt.Errorf("reading the kernel's count of memory kills: no oom_kill in %s", file)
}
