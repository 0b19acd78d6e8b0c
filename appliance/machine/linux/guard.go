package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A guard is a process beside the first one of a machine on trial. Most machines
// have no watchdog that the kernels know, and a release whose init hangs would
// keep them for ever; the guard was started before that init, waits, and
// restarts the machine unless it is ended first. It is no help against a kernel
// that hangs.
const (
	guardName = "phase-guard" // its argv[0]
	// guardVariable holds the guard's process id for the init that comes after.
	guardVariable = "PHASE_GUARD"
)

// StartGuard starts the running program once more, as a guard, and sets the
// environment variable by which EndGuard finds it. Nothing of it can be reached
// from outside: it has no files but /dev/null and the kernel's log, and no
// environment. It needs those from its start: a Go program without standard files
// opens /dev/null or dies, and /dev may be gone by then. Where there is a guard
// already it is the one.
func StartGuard() error {
	if os.Getenv(guardVariable) != "" {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("starting the guard: %w", err)
	}
	defer null.Close()
	log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		log = null
	} else {
		defer log.Close()
	}
	p, err := os.StartProcess("/proc/self/exe", []string{guardName}, &os.ProcAttr{Env: []string{}, Files: []*os.File{null, null, log}})
	if err != nil {
		return fmt.Errorf("starting the guard: %w", err)
	}
	return errors.Join(os.Setenv(guardVariable, strconv.Itoa(p.Pid)), p.Release())
}

// IsGuard says whether this process is one.
func IsGuard() bool { return os.Args[0] == guardName && os.Getpid() != 1 && os.Getppid() == 1 }

// Guard waits so long, and then restarts the machine.
func Guard(wait time.Duration, c Console, k Kernel) {
	time.Sleep(wait)
	c.Line(Error, "guard", fmt.Sprintf("the release on trial did not come up in %s; restarting through the firmware", wait))
	for { // a restart that failed may succeed later
		c.Line(Error, "guard", k.Restart().Error())
		time.Sleep(time.Minute)
	}
}

// EndGuard ends the guard of this boot, if there is one, and says whether.
func EndGuard() (ended bool, err error) {
	pid, err := strconv.Atoi(os.Getenv(guardVariable))
	if err != nil || pid <= 1 {
		return false, nil // no trial
	}
	// It may have died and its number be another's.
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, os.ErrNotExist) || err == nil && string(cmdline) != guardName+"\x00" {
		return false, nil
	}
	if err == nil {
		err = unix.Kill(pid, unix.SIGKILL)
	}
	if err != nil {
		return false, fmt.Errorf("ending the guard of the trial: %w", err)
	}
	return true, nil
}
