package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/link/nic"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots"
	"phase/appliance/release/trust"

	"golang.org/x/sys/unix"
)

func (n *node) mountSystem() error {
	errs := linux.MountAll(linux.System)
	// Before the mounts there may have been no /dev to open the console in.
	n.report.line = linux.OpenConsole().Line
	return errors.Join(errs...)
}

// gatherEntropy begins early, and goes on beside the boot: on a machine without
// a source of randomness the first key waits for seconds.
func (n *node) gatherEntropy() error {
	go n.report.guard("random numbers", linux.GatherEntropy)
	return nil
}

// kernelSettings are sysctls: what a program that was taken over could
// otherwise use against the others, and the room that QUIC wants for packets
// that arrive while it is busy.
var kernelSettings = []struct{ path, value string }{
	{"/proc/sys/fs/protected_symlinks", "1"},
	{"/proc/sys/fs/protected_hardlinks", "1"},
	{"/proc/sys/fs/protected_regular", "2"},
	{"/proc/sys/fs/protected_fifos", "2"},
	{"/proc/sys/kernel/dmesg_restrict", "1"},
	{"/proc/sys/kernel/kptr_restrict", "2"},
	{"/proc/sys/kernel/sysrq", "0"},
	{"/proc/sys/net/core/rmem_max", "7500000"},
	{"/proc/sys/net/core/wmem_max", "7500000"},
}

func (n *node) setKernel() error {
	var errs []error
	for _, s := range kernelSettings {
		if err := os.WriteFile(s.path, []byte(s.value), 0); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, linux.TakeCtrlAltDel(), linux.InterfaceUp("lo"), unix.Sethostname([]byte("phase")))...)
}

const cmdlineFile = "/proc/cmdline"

// readSettings reads what the owner asked for, before anything is done that a mode
// decides. A release that was jumped into is not asked for its mode: its command
// line has the one of the boot before.
func (n *node) readSettings() error {
	cmdline, err := statefile.ReadCapped(cmdlineFile, settings.MaxCmdline)
	if err != nil {
		return err
	}
	conf, err := statefile.ReadCapped(filepath.Join(bootDir, disk.ConfFile), settings.MaxConf)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	options, problems := settings.Parse(string(cmdline), string(conf))
	if options.Menu > 0 && options.Trial == "" {
		if mode := n.atConsoles(options); mode != "" {
			options, problems = settings.ParseIn(mode, string(cmdline), string(conf))
		}
		n.started = n.clock.Now() // a person's time to think is none of the start
	}
	if n.disk != nil {
		options.Conf = append(options.Conf, "phase.place="+n.disk.Place)
	}
	n.options = options
	n.trials.running, _ = names.ParseDigest(options.Trial) // zero when there is none; Parse has checked it
	for _, p := range problems {
		if p.Word != "" {
			n.unknown = append(n.unknown, p.Word)
		}
		n.report.problem("%s", p)
	}
	return err
}

// findRelease verifies the manifest this machine came up with and notes where
// its bytes are. That a release is held gives it no trust: a program that serves
// it verifies it again, bytes and all.
func (n *node) findRelease() error {
	dir, rootfs := bootDir, filepath.Join(releaseDir, layout.FileName("rootfs"))
	if n.carried {
		dir = releaseDir
	} else {
		if n.disk == nil {
			return fmt.Errorf("there is neither a boot disk nor a carried release; nothing is held")
		}
		rootfs = n.disk.Device()
		// The rootfs is public; plasmd serves it from where it lies.
		if err := errors.Join(os.Chown(rootfs, 0, plasmdGID), os.Chmod(rootfs, 0o640)); err != nil {
			return err
		}
	}
	trusted, err := roots.LoadChain(rootFile)
	if err != nil {
		return fmt.Errorf("%w; nothing can be verified", err)
	}
	for _, problem := range trusted.Problems {
		n.report.problem("%v", problem)
	}
	file := filepath.Join(dir, layout.ManifestFile)
	data, err := statefile.ReadCapped(file, envelope.MaxBytes)
	if err != nil {
		return fmt.Errorf("%w; nothing is held", err)
	}
	verified, err := trusted.Last().VerifyHeld(data, trust.Any, names.RunningArch())
	if err != nil {
		return fmt.Errorf("%s: %w; nothing is held", file, err)
	}
	n.release = verified
	n.held = &statefile.Held{Manifest: file, Artifacts: map[string]string{
		"kernel":    filepath.Join(dir, layout.FileName("kernel")),
		"initramfs": filepath.Join(dir, layout.FileName("initramfs")),
		"rootfs":    rootfs,
	}}
	return nil
}

// raiseClock keeps a clock that fell back to 1970 from being believed: it is
// later than the day the running release was made, which is signed.
func (n *node) raiseClock() error {
	if !n.release.Valid() {
		return nil
	}
	created := n.release.Manifest().Created
	now := n.clock.Now()
	if !now.Before(created) {
		return nil
	}
	tv := syscall.NsecToTimeval(created.UnixNano())
	if err := syscall.Settimeofday(&tv); err != nil {
		return fmt.Errorf("setting it: %w", err)
	}
	n.started = n.clock.Now()
	n.report.say("the clock said %s; it is not before %s, when this release was made", now.UTC().Format(time.RFC3339), created.UTC().Format(time.RFC3339))
	return nil
}

func (n *node) delegateMemory() (err error) {
	n.plasmdGroup, err = linux.DelegateMemory(linux.Cgroups, "plasmd", linux.DaemonGroup, plasmdUID, plasmdGID)
	return err
}

// raiseInterfaces lets the wired interfaces come up while the programs start:
// an IPv6 link-local address takes its time to be found free. In private mode
// they stay down until net has given them another hardware address.
func (n *node) raiseInterfaces() error {
	if n.options.Mode == settings.Private {
		return nil
	}
	return nic.Raise(n.options)
}

func (n *node) openWatchdog() (err error) {
	n.shutdown.watchdog, err = linux.OpenWatchdog(watchdogTime)
	return err
}
