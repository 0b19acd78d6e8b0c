package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"

	"golang.org/x/sys/unix"
)

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

// stubDisk is the disk the jump began on, when it began on one. Of several with
// the same identifier it is the one that is connected where that one was.
func (n *node) stubDisk() (disk.Partition, error) {
	cmdline, err := statefile.ReadCapped(cmdlineFile, settings.MaxCmdline)
	if err != nil {
		return disk.Partition{}, err
	}
	options, _ := settings.Parse(string(cmdline), "") // problems are reported by readSettings
	if options.Disk == "" {
		return disk.Partition{}, disk.ErrNoDisk
	}
	var found []disk.Partition
	at := -1
	waitFor(n.clock, diskWait, func() bool {
		found, err = disk.FindPartitions(options.Disk)
		at = slices.IndexFunc(found, func(p disk.Partition) bool { return options.Place == "" || p.Place == options.Place })
		return err != nil || at >= 0
	})
	switch {
	case err != nil:
		return disk.Partition{}, err
	case len(found) == 0:
		return disk.Partition{}, fmt.Errorf("the disk this machine was started from (%s) is gone; nothing is kept", options.Disk)
	case at < 0:
		n.report.say("the disk this machine was started from is now connected elsewhere; taking %s", found[0].Disk)
		at = 0
	}
	return found[at], nil
}

// copiesWait is how long after the start copies of the boot disk are looked for:
// a second USB stick may be found later than the first.
const copiesWait = time.Minute

// watchCopies reports another disk that was copied from the boot disk, or the
// other way round. This boot uses one of them alone; which one the next boot
// takes is the firmware's and the kernel's choice.
func (n *node) watchCopies() error {
	if n.disk == nil {
		return nil
	}
	for end := n.clock.Now().Add(copiesWait); n.clock.Now().Before(end); <-n.clock.After(lookEvery) {
		copies, err := n.disk.Copies()
		if err != nil {
			return err
		}
		if len(copies) > 0 {
			return fmt.Errorf("there are two media with the same image and identifiers, %s and %s. This boot uses %s alone, the next one may use the other: take one out, or flash it anew", n.disk.Disk, copies[0].Disk, n.disk.Disk)
		}
	}
	return nil
}
