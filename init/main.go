// Command init is PID 1 of a node. It mounts, reads the settings, finds the
// release this machine came up from, starts the services, and from then on
// keeps them running, takes requests over its socket, watches the power button
// and the watchdog, and ends the machine cleanly. Nothing that goes wrong ends
// init: it is written to the console and to boot.json, and the boot goes on
// with what there is.
package main

import (
	"fmt"
	"os"

	"phase/appliance/machine/linux"
)

// step is one thing done on the way up. A step that fails has its problem
// reported; the ones behind it cope with what is missing.
type step struct {
	name string
	do   func(*node) error
}

// The way up, in order. Nothing may wait here for what a service does not need;
// that goes into beside.
var steps = []step{
	{"mounts", (*node).mountSystem},
	{"random numbers", (*node).gatherEntropy},
	{"kernel settings", (*node).setKernel},
	{"boot disk", (*node).findDisk},
	{"settings", (*node).readSettings},
	{"wired interfaces", (*node).raiseInterfaces},
	{"release", (*node).findRelease},
	{"clock", (*node).raiseClock},
	{"persistent partition", (*node).mountPerm},
	{"watchdog", (*node).openWatchdog},
	{"memory control", (*node).delegateMemory},
	{"state", (*node).writeState},
	{"control socket", (*node).listen},
	{"greeting", (*node).greet},
	{"newest release", (*node).startNewest},
	{"services", (*node).startServices},
}

// What goes on beside the services, each for as long as the machine is up.
var beside = []step{
	{"signals", (*node).watchSignals},
	{"power button", (*node).watchButton},
	{"health", (*node).watchHealth},
	{"boot disk", (*node).watchCopies},
	{"room on the disk", (*node).growPerm},
	{"persistent partition", (*node).watchPerm},
	{"trial", (*node).reportTrials},
	{"watchdog", (*node).petWatchdog},
}

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this program is the first of a node; it does nothing on a machine that runs already")
		os.Exit(1)
	}
	n := newNode(linux.OpenConsole())
	n.report.took("kernel", 0)
	for _, s := range steps {
		begin := linux.Up()
		n.report.guard(s.name, func() error { return s.do(n) })
		n.report.took(s.name, begin)
	}
	n.report.guard("state", n.report.write) // with the steps after it
	for _, s := range beside {
		go n.report.guard(s.name, func() error { return s.do(n) })
	}
	select {} // PID 1 may not return: the kernel would panic
}
