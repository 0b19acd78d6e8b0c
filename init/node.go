package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
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

// node is what the steps of the boot find out about this machine, each for those
// behind it; nothing changes it afterwards. The parts of init that go on beside
// the services have each their own state.
type node struct {
	report    *report
	clock     clock
	services  *services
	trials    *trials
	shutdown  *shutdown
	installer installer
	reported  sync.Once // the trials before this boot

	started   time.Time
	startedUp time.Duration // how long the machine had been up then
	options   settings.Options
	unknown   []string        // words of the settings that were not understood
	disk      *disk.Partition // the root partition of the boot disk
	carried   bool            // this boot came from a jump
	release   trust.Verified  // zero when nothing verified is held
	held      *statefile.Held // where the bytes of release are
	data      string          // plasmd's folder; empty where nothing is kept
	had       had             // what this machine had when it last ran
	// writable says that the persistent partition is mounted.
	writable bool
	// plasmdGroup is plasmd's control group; the workers it starts have theirs
	// beside it. Empty where the kernel cannot limit their memory so.
	plasmdGroup string
}

func newNode(console linux.Console) *node {
	n := &node{report: &report{line: console.Line, saves: newQueue(), problems: []string{}}, clock: wallClock{}, started: time.Now(), startedUp: linux.Up(), unknown: []string{}}
	n.services = newServices(n.report, n.clock)
	n.trials = newTrials(n.report, linux.EndGuard, n.openJournal)
	n.shutdown = &shutdown{report: n.report, clock: n.clock, kernel: linux.Running{}, stopServices: n.services.stop, flush: n.flush}
	return n
}

// openJournal finds the journal of trials: on the disk, or else among the
// firmware's variables.
func (n *node) openJournal() journal {
	// Also where there is a disk that nothing can be kept on.
	if !exists(filepath.Dir(dataDir)) && !n.options.NoWrite && exists(linux.EFIVars.Target) {
		if err := linux.EFIVars.Do(); err != nil {
			n.report.problem("%v", err)
		}
	}
	return trial.Here()
}

// reportTrials says, once, which releases did not come up.
func (n *node) reportTrials() (err error) {
	n.reported.Do(func() { err = n.trials.unfinished() })
	return err
}

func (n *node) petWatchdog() error { return n.shutdown.pet() }

func (n *node) watchHealth() error {
	h := &health{
		report:  n.report,
		trials:  n.trials,
		clock:   n.clock,
		started: n.started,
		begun:   linux.Up(),
		time:    linux.Patience(n.startedUp, trialTimes, trialTime, trialMost),
		probe:   func() (int, error) { return probe(plasmdAt, probeTime) },
		missing: n.missing,
		looping: n.services.looping,
		restart: func() error { return n.services.set.Restart("plasmd") },
		giveUp:  func() { n.end(restart) },
		note: func(lasted bool) {
			if err := n.had.note(networked(runDir), lasted); err != nil {
				n.report.problem("%v", err)
			}
		},
	}
	for {
		<-n.clock.After(h.check())
	}
}

// writeState makes the folder where programs meet and writes boot.json. From
// then on it is written again whenever a problem is added.
func (n *node) writeState() error {
	options, err := strictjson.Marshal(n.options)
	if err := errors.Join(err, makeDir(runDir, 0, 0o755), makeDir(bootData, plasmdUID, 0o700)); err != nil {
		return err
	}
	boot := statefile.Boot{
		Mode:           string(n.options.Mode),
		Options:        options,
		OptionsUnknown: n.unknown,
		BootedFrom:     n.bootedFrom(),
		Watchdog:       n.shutdown.watchdog.Name(),
		Data:           n.data,
		Held:           n.held,
		Trial:          n.options.Trial,
		Started:        n.started,
	}
	return n.report.publish(func(problems []string, steps []statefile.Step) error {
		boot.Problems, boot.Steps = problems, steps
		return statefile.Write(runDir, statefile.BootFile, boot)
	})
}

func (n *node) bootedFrom() string {
	if n.carried {
		return statefile.FromKexec
	}
	return statefile.FromStub
}

// makeDir makes a folder with exactly that owner and mode.
func makeDir(path string, uid int, mode os.FileMode) error {
	made := !exists(path)
	err := os.MkdirAll(path, mode)
	if err == nil && made {
		err = statefile.SyncFolder(filepath.Dir(path)) // its name must last as long as what is put into it
	}
	if err != nil {
		return err
	}
	if err := os.Chown(path, uid, uid); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// greet is the line by which a person, or a test, knows what came up.
func (n *node) greet() error {
	what := "Phase without a verified release"
	if n.release.Valid() {
		m := n.release.Manifest()
		what = fmt.Sprintf("Phase %s (version %d, %s, %s)", m.Name, m.Version, m.Channel, m.Arch)
	}
	n.report.say("%s, mode %s, booted from %s", what, n.options.Mode, n.bootedFrom())
	return nil
}
