package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/machine/supervise"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// Where things are on a node.
const (
	runDir     = "/run/phase"         // the files programs meet in
	bootDir    = layout.Boot          // the stub's boot partition
	releaseDir = layout.Carried       // what was carried over a jump
	permDir    = "/perm"              // the persistent partition
	dataDir    = "/perm/phase/plasmd" // plasmd's own folder
	bootData   = "/run/phase/plasmd"  // the same where nothing is kept
	rootFile   = roots.Default        // whose signatures count
	resolvFile = "/tmp/resolv.conf"   // /etc/resolv.conf is a link to it
	// plasmdSocket is in RAM whatever is kept, in a folder that plasmd may write.
	plasmdSocket = "/run/phase/plasmd/plasmd.sock"
	plasmdUID    = 900 // plasmd in /etc/passwd
	plasmdGID    = 900
)

// node is the machine as init knows it. The steps of the boot fill it one after
// the other; what is used beside them afterwards is behind mu.
type node struct {
	console  linux.Console
	kernel   linux.Kernel
	started  time.Time
	services supervise.Set
	limits   limits

	options  settings.Options
	disk     *disk.Partition // the root partition of the boot disk
	carried  bool            // this boot came from a jump
	release  trust.Verified  // zero when nothing verified is held
	journal  trial.Journal
	watchdog linux.Watchdog
	// plasmdGroup is plasmd's control group; the workers it starts have theirs
	// beside it. Empty where the kernel cannot limit their memory so.
	plasmdGroup string

	mu      sync.Mutex
	boot    statefile.Boot
	written bool // boot.json is there and follows what changes
	ending  bool
	good    bool // the release on trial came up
	unpause *time.Timer
}

func newNode() *node {
	n := &node{kernel: linux.Running{}, started: time.Now(), journal: trial.InMemory()}
	n.boot = statefile.Boot{Problems: []string{}, OptionsUnknown: []string{}, BootedFrom: statefile.FromStub, Watchdog: "none"}
	n.services.Line = n.serviceLine
	return n
}

// say writes a line of init's own to the console.
func (n *node) say(format string, args ...any) {
	n.console.Line(linux.Notice, "init", fmt.Sprintf(format, args...))
}

const maxProblems = 100 // in boot.json; a machine that has more has said enough

// problem reports what is not as it should be: on the console, and in boot.json
// for /status.
func (n *node) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	// Last: whoever reads the line finds it in /status.
	defer n.console.Line(linux.Warning, "init", "problem: "+text)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.boot.Problems) < maxProblems {
		n.boot.Problems = append(n.boot.Problems, linux.Record("init", text)[len("init: "):])
	}
	n.writeLocked()
}

// writeState makes the folder where programs meet and writes boot.json. From
// then on it is written again whenever a problem is added.
func (n *node) writeState() error {
	for _, dir := range []struct {
		path string
		uid  int
		mode os.FileMode
	}{
		{runDir, 0, 0o755},
		{bootData, plasmdUID, 0o700},
	} {
		if err := makeDir(dir.path, dir.uid, dir.mode); err != nil {
			return err
		}
	}
	options, err := strictjson.Marshal(n.options)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.boot.Mode = string(n.options.Mode)
	n.boot.Options = options
	n.boot.Trial = n.options.Trial
	n.boot.Watchdog = n.watchdog.Name()
	n.boot.Started = n.started
	n.written = true
	return n.writeLocked()
}

func (n *node) writeLocked() error {
	if !n.written {
		return nil
	}
	return statefile.Write(runDir, statefile.BootFile, n.boot)
}

// makeDir makes a folder with exactly that owner and mode.
func makeDir(path string, uid int, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	if err := os.Chown(path, uid, uid); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// greet is the line by which a person, or a test, knows what came up.
func (n *node) greet() {
	what := "Phase without a verified release"
	if n.release.Valid() {
		m := n.release.Manifest()
		what = fmt.Sprintf("Phase %s (version %d, %s, %s)", m.Name, m.Version, m.Channel, m.Arch)
	}
	n.say("%s, mode %s, booted from %s", what, n.options.Mode, n.boot.BootedFrom)
}
