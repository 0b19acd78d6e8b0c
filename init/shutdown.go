package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"phase/appliance/machine/button"
	"phase/appliance/machine/linux"

	"golang.org/x/sys/unix"
)

// ending is a way for the machine to stop running this release.
type ending struct {
	line string // on the console, just before
	call func(linux.Kernel) error
}

var (
	jump     = ending{"jumping", linux.Kernel.Jump}
	restart  = ending{"restarting", linux.Kernel.Restart}
	powerOff = ending{"power off", linux.Kernel.PowerOff}
)

const (
	watchdogTime = time.Minute // without a pet
	petEvery     = 10 * time.Second
	jumpTime     = 75 * time.Second // for a jump, until the next init pets

	// flushTime is how long the disks may take for what is still to be written,
	// on a slow stick with a download in its cache too.
	flushTime = time.Minute
)

// shutdown stops the services and ends the machine.
type shutdown struct {
	report       *report
	clock        clock
	kernel       linux.Kernel
	watchdog     linux.Watchdog // set by the boot
	stopServices func()
	flush        func() // writes the last that is kept, and unmounts the disk

	begun atomic.Bool
}

// run returns only when the machine could not be ended, or is being ended
// already.
func (s *shutdown) run(e ending) {
	if s.begun.Swap(true) {
		return
	}
	s.report.say("stopping")
	s.setWatchdog()
	s.stopServices()
	if !within(s.clock, flushTime, s.flush) {
		s.report.say("the disks did not come to rest within %s; going on without them", flushTime)
	}
	// The watchdog stays armed: over a jump it guards the next kernel (as far
	// as its driver lets it run on, see watchdog.stop_on_reboot), and it ends a
	// restart that hangs.
	s.setWatchdog()
	s.report.say("%s", e.line)
	err := e.call(s.kernel)
	s.report.line(linux.Error, "init", err.Error())
	// Everything is stopped; only the firmware can bring the machine back. A
	// restart that failed fails again, and PID 1 may not spin: the watchdog,
	// where there is one, does the rest.
	s.report.say("restarting through the firmware")
	s.report.line(linux.Error, "init", s.kernel.Restart().Error())
}

func (s *shutdown) setWatchdog() {
	if err := s.watchdog.SetTimeout(jumpTime); err != nil {
		s.report.say("%v", err)
	}
}

// pet keeps the machine from being reset. Health is not its concern: a service
// that hangs is started again, and a trial that does not become healthy is ended
// by health; what is left for the watchdog is a machine where nothing runs, or
// one that does not get to its end: once that has begun it is not petted here.
func (s *shutdown) pet() error {
	for ; !s.begun.Load(); <-s.clock.After(petEvery) {
		if err := s.watchdog.Pet(); err != nil {
			return err
		}
	}
	return nil
}

// within says whether f ended in time. One that did not goes on: a call to a
// dead disk cannot be stopped, and must not keep the machine.
func within(c clock, d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-c.After(d):
		return false
	}
}

// end ends the machine and never returns: there is nothing after it.
func (n *node) end(e ending) {
	n.report.guard("ending", func() error { n.shutdown.run(e); return nil })
	select {}
}

// flush writes the last that is kept, and unmounts the one partition that is
// ever written to.
func (n *node) flush() {
	n.trials.lasted()
	if err := linux.Unmount(permDir); err != nil {
		n.report.say("%v", err)
	}
	unix.Sync() // what a process still holds open is not unmounted yet
}

// signals of the first process: the kernel sends SIGINT for Ctrl-Alt-Del; the
// others are those of other inits.
var signals = map[os.Signal]ending{
	syscall.SIGINT:  restart,
	syscall.SIGTERM: restart,
	syscall.SIGUSR2: powerOff,
}

func (n *node) watchSignals() error {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGCHLD, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR2)
	n.services.set.Reap() // what ended before we listened
	for s := range c {
		if e, ok := signals[s]; ok {
			n.report.say("signal: %s", s)
			go n.end(e)
			continue
		}
		n.services.set.Reap()
	}
	return fmt.Errorf("no more signals")
}

func (n *node) watchButton() error {
	button.Watch(func() {
		n.report.say("power button")
		go n.end(powerOff)
	})
	return nil
}
