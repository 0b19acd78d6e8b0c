// Command init, in the initramfs, is the small PID 1 that brings a release up
// from RAM: it attaches the rootfs that was carried over the jump in a second
// archive, puts the carried release where the rootfs's own init looks for it,
// and hands over. It keeps no copy: what it read from stays the only one.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"phase/appliance/machine/linux"
	"phase/appliance/release/layout"

	"golang.org/x/sys/unix"
)

const (
	newRoot = "/newroot"
	next    = "/gokrazy/init"
	own     = "/init" // of the release that is started
	seed    = "/seed" // randomness from the kernel that jumped here

	// How long a release on trial may take until its own init takes the watchdog
	// over: at least, on a slow machine, and by how long the kernel took to start.
	watchdogTime, watchdogMost, watchdogTimes = 45 * time.Second, 2 * time.Minute, 20

	// The same for the guard. It is more than init gives a release on trial to
	// become healthy: an init that can end the trial does so itself, and cleanly.
	guardTime, guardMost, guardTimes = 80 * time.Second, 5 * time.Minute, 32
)

// step is one thing done on the way up. What fails stops the boot.
type step struct {
	what string
	do   func() error
}

var steps = []step{
	{"mounting /dev and /proc", mountSystem},
	{"preparing for a trial", prepareTrial},
	{"seeding the random numbers", func() error { warn(seedRandom(seed, linux.AddEntropy)); return nil }},
	{"mounting the rootfs", mountRootfs},
	{"carrying the release over", bindRelease},
	{"switching to the rootfs", switchRoot},
	{"starting " + next, func() error { return unix.Exec(next, []string{next}, os.Environ()) }},
}

// first is what the small init of the release that jumped here does, before
// anything of the release that is tried runs: it sees to it that the trial ends. It
// leaves nothing behind that the next init would find in its way.
var first = []step{
	{"mounting /dev and /proc", mountSystem},
	{"preparing for a trial", prepareTrial},
	{"deleting itself", func() error { return os.Remove(layout.First) }}, // it would hold its memory for ever
	{"unmounting /dev and /proc", unmountSystem},
	{"starting " + own, func() error { return unix.Exec(own, []string{own}, os.Environ()) }},
}

func main() {
	console := linux.OpenConsole()
	if linux.IsGuard() {
		linux.Guard(linux.Patience(linux.Up(), guardTimes, guardTime, guardMost), console, linux.Running{})
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this program is the first of a node; it does nothing on a machine that runs already")
		os.Exit(1)
	}
	todo := steps
	if os.Args[0] == layout.First {
		todo = first
	}
	err := bringUp(todo)
	console = linux.OpenConsole() // there may have been no /dev before
	console.Line(linux.Error, "initramfs", err.Error())
	console.Line(linux.Error, "initramfs", "restarting through the firmware in 10 seconds")
	time.Sleep(10 * time.Second)
	for { // PID 1 may not return: the kernel would panic
		console.Line(linux.Error, "initramfs", linux.Running{}.Restart().Error())
		time.Sleep(time.Minute)
	}
}

// bringUp does the steps, the last of which does not return. It returns only on
// an error; a panic is one.
func bringUp(steps []step) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault in the initramfs itself: %v", p)
		}
	}()
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return fmt.Errorf("%s returned", steps[len(steps)-1].what)
}

func mountSystem() error {
	for _, m := range linux.System[:2] {
		m.Make = true // the archive need not hold the mount points
		if err := m.Do(); err != nil {
			return err
		}
	}
	return nil
}

func unmountSystem() error {
	for _, m := range linux.System[:2] {
		if err := unix.Unmount(m.Target, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
	}
	return nil
}

// onTrial says whether a command line is that of a release which is tried.
func onTrial(cmdline string) bool { return strings.Contains(cmdline, "phase.trial=") }

// prepareTrial sees to it that a release on trial whose init hangs is ended: by
// the watchdog, whose driver keeps it running after the file is closed, since it
// was not told to stop; and, as far as a process can, by a guard, which the init
// of the rootfs finds in its environment, and ends once the trial has ended well.
// Without either the boot goes on.
func prepareTrial() error {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil || !onTrial(string(cmdline)) {
		return err
	}
	_, err = linux.OpenWatchdog(linux.Patience(linux.Up(), watchdogTimes, watchdogTime, watchdogMost))
	warn(err)
	warn(linux.StartGuard())
	return nil
}

// warn reports an error that the boot goes on without; nil is none.
func warn(err error) {
	if err != nil {
		linux.OpenConsole().Line(linux.Warning, "initramfs", err.Error())
	}
}

// seedRandom gives the kernel the randomness that was carried over in a file, by
// add, and deletes it. A machine without it only waits longer for its first key.
func seedRandom(file string, add func([]byte) error) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = add(data)
	}
	return errors.Join(err, os.Remove(file))
}

func mountRootfs() error {
	image, err := os.Open(path.Join(layout.Carried, layout.FileName("rootfs")))
	if err != nil {
		return fmt.Errorf("%w; the kernel that jumped here carried no release over", err)
	}
	defer image.Close()
	device, err := linux.AttachLoop(image)
	if err != nil {
		return err
	}
	defer device.Close()
	return linux.Mount{Source: device.Name(), Target: newRoot, Type: "squashfs", Flags: unix.MS_RDONLY, Make: true}.Do()
}

// bindRelease shows the carried release in the new root, read-only, without
// copying it: the pages of the initramfs stay its only home.
func bindRelease() error {
	target := newRoot + layout.Carried
	if err := (linux.Mount{Source: layout.Carried, Target: target, Flags: unix.MS_BIND}).Do(); err != nil {
		return err
	}
	const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return linux.Mount{Target: target, Flags: flags}.Do()
}

// switchRoot makes the rootfs the root of everything. /init is deleted first:
// nothing can reach it afterwards, and it would hold its memory for ever. (The
// guard of a trial runs it, and holds it until it ends.)
func switchRoot() error {
	if err := os.Remove("/init"); err != nil {
		return err
	}
	for _, m := range linux.System[:2] {
		if err := (linux.Mount{Source: m.Target, Target: newRoot + m.Target, Flags: unix.MS_MOVE}).Do(); err != nil {
			return err
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := (linux.Mount{Source: ".", Target: "/", Flags: unix.MS_MOVE}).Do(); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}
