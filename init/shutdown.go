package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

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

// restTime is how long the disks may take to come to rest, of a slow stick with
// a download in its cache too.
const restTime = time.Minute

// end stops the services, brings the disks to rest and ends the machine. It is
// done once; whoever asks again waits for ever, as there is nothing after it.
func (n *node) end(e ending) {
	n.mu.Lock()
	if n.ending {
		n.mu.Unlock()
		select {}
	}
	n.ending = true
	if n.unpause != nil {
		n.unpause.Stop()
	}
	n.mu.Unlock()

	n.say("stopping")
	if err := n.watchdog.SetTimeout(jumpTime); err != nil {
		n.say("%v", err)
	}
	// net runs on: it holds nothing that must come to rest, and the last to serve
	// is heard to the end.
	n.services.Stop("net")
	if !within(restTime, n.rest) {
		n.say("the disks did not come to rest within %s; going on without them", restTime)
	}
	// The watchdog stays armed: over a jump it guards the next kernel (as far
	// as its driver lets it run on, see watchdog.stop_on_reboot), and it ends a
	// restart that hangs.
	if err := n.watchdog.SetTimeout(jumpTime); err != nil {
		n.say("%v", err)
	}
	n.say("%s", e.line)
	err := e.call(n.kernel)
	n.console.Line(linux.Error, "init", err.Error())
	// Everything is stopped; only the firmware can bring the machine back. A
	// restart that failed fails again, and PID 1 may not spin: the watchdog,
	// where there is one, does the rest.
	n.say("restarting through the firmware")
	n.console.Line(linux.Error, "init", n.kernel.Restart().Error())
	select {}
}

// rest writes the last that is to be kept, and brings the disk to rest. Of its
// partitions one alone is ever written to.
func (n *node) rest() {
	n.trialLasted()
	if err := linux.Unmount(permDir); err != nil {
		n.say("%v", err)
	}
	unix.Sync() // what somebody still holds open is not unmounted yet
}

// within says whether f ended in time. One that did not goes on: a call to a
// dead disk cannot be stopped, and must not keep the machine.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
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
	n.services.Reap() // what ended before we listened
	for s := range c {
		if e, ok := signals[s]; ok {
			n.say("signal: %s", s)
			go n.guard(step{"ending", func(n *node) error { n.end(e); return nil }})
			continue
		}
		n.services.Reap()
	}
	return fmt.Errorf("no more signals")
}

func (n *node) watchButton() error {
	for range linux.PowerButton(context.Background()) {
		n.say("power button")
		go n.guard(step{"ending", func(n *node) error { n.end(powerOff); return nil }})
	}
	return nil
}
