package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/identity"
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

// diskWait is how long a boot that came from a jump waits for the disk of the
// stub: a USB stick is there some seconds after the kernel.
const diskWait = 6 * time.Second

// findDisk finds the boot disk and mounts its boot partition. A machine that
// came up from RAM may have none.
func (n *node) findDisk() error {
	n.carried = exists(filepath.Join(releaseDir, layout.ManifestFile))
	root, err := disk.RootPartition()
	if errors.Is(err, disk.ErrNoDisk) {
		root, err = n.stubDisk()
	}
	if errors.Is(err, disk.ErrNoDisk) {
		return nil // diskless, as a machine may be
	}
	if err != nil {
		return err
	}
	n.disk = &root
	part, err := root.Sibling(disk.Boot)
	if err != nil {
		return err
	}
	return linux.Mount{Source: part.Device(), Target: bootDir, Type: "vfat",
		Flags: unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME,
		Data:  fmt.Sprintf("uid=0,gid=%d,fmask=0337,dmask=0227", plasmdGID)}.Do()
}

// stubDisk is the disk the jump began on, when it began on one.
func (n *node) stubDisk() (disk.Partition, error) {
	cmdline, err := statefile.ReadCapped(cmdlineFile, settings.MaxCmdline)
	if err != nil {
		return disk.Partition{}, err
	}
	options, _ := settings.Parse(string(cmdline), "") // problems are reported by readSettings
	if options.Disk == "" {
		return disk.Partition{}, disk.ErrNoDisk
	}
	var root disk.Partition
	waitFor(n.clock, diskWait, func() bool {
		root, err = disk.FindPartition(options.Disk)
		return !errors.Is(err, disk.ErrNoDisk)
	})
	if errors.Is(err, disk.ErrNoDisk) {
		err = fmt.Errorf("the disk this machine was started from (%s) is gone; nothing is kept", options.Disk)
	}
	return root, err
}

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
	root, err := roots.Load(rootFile)
	if err != nil {
		return fmt.Errorf("%w; nothing can be verified", err)
	}
	file := filepath.Join(dir, layout.ManifestFile)
	data, err := statefile.ReadCapped(file, envelope.MaxBytes)
	if err != nil {
		return fmt.Errorf("%w; nothing is held", err)
	}
	verified, err := root.VerifyHeld(data, trust.Any, names.RunningArch())
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

// minFree is what must be free on the persistent partition to call it usable:
// room for plasmd's own files, and for the journal of trials.
const minFree = 1 << 20

// mountPerm mounts the persistent partition, unless the mode forbids it, and
// makes the folders on it.
func (n *node) mountPerm() error {
	if n.disk == nil || n.options.NoWrite {
		return nil
	}
	part, err := n.disk.Sibling(disk.Perm)
	if err == nil {
		err = linux.Mount{Source: part.Device(), Target: permDir, Type: "ext4",
			Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME, Data: "errors=remount-ro"}.Do()
	}
	if err != nil {
		return fmt.Errorf("%w; nothing is kept", err)
	}
	err = preparePerm()
	// An identity that is there already can still be read.
	if err == nil || exists(filepath.Join(dataDir, identity.File)) {
		n.data = dataDir
	}
	switch {
	case err == nil:
		return nil
	case n.data != "":
		return fmt.Errorf("%w; nothing new is kept", err)
	}
	return fmt.Errorf("%w; nothing is kept, and this node has a new identity at each boot", err)
}

// preparePerm makes the folders of the persistent partition and asks for room.
func preparePerm() error {
	if err := makeDir(filepath.Dir(dataDir), 0, 0o755); err != nil {
		return err
	}
	if err := makeDir(dataDir, plasmdUID, 0o700); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(permDir, &fs); err != nil {
		return err
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < minFree {
		return fmt.Errorf("the disk is full (%d KiB are free)", free>>10)
	}
	return nil
}

func (n *node) delegateMemory() (err error) {
	n.plasmdGroup, err = linux.DelegateMemory(linux.Cgroups, "plasmd", linux.DaemonGroup, plasmdUID, plasmdGID)
	return err
}

// growPerm lets the persistent partition's file system, made small, take all of
// the partition, which is the rest of the stick. Nothing waits for it.
func (n *node) growPerm() error {
	if n.data == "" {
		return nil
	}
	part, err := n.disk.Sibling(disk.Perm)
	if err != nil {
		return err
	}
	grown, err := disk.GrowExt4(permDir, part.Device())
	if grown > 0 {
		n.report.say("the persistent partition has grown by %d MiB", grown>>20)
	}
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
