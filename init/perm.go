package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/ext4"
	"phase/appliance/machine/disk/grow"
	"phase/appliance/machine/linux"
	"phase/appliance/release/diskimage"

	"golang.org/x/sys/unix"
)

// minFree is what must be free on the persistent partition to call it usable:
// room for plasmd's own files, and for the journal of trials.
const minFree = 1 << 20

// permTemplate is the empty file system of the persistent partition.
const permTemplate = "/" + diskimage.PermFile

// mountPerm mounts the persistent partition, unless nothing may be written, and
// makes the folders on it. One without a usable file system gets an empty one; it
// stays as it is while its identity can be read, or its device not. That the
// kernel made it read-only because of damage that it found is the same.
func (n *node) mountPerm() error {
	if n.disk == nil || n.options.NoWrite {
		return nil
	}
	part, err := n.disk.Sibling(disk.Perm)
	if err == nil {
		err = n.usePerm(part)
	}
	if exists(resetMark) {
		err = n.resetPerm(part)
	}
	dead := ext4.Unusable(err) || errors.Is(err, unix.EROFS) && n.writable && ext4.Damaged(part.Name)
	if dead && !exists(identityFile) {
		err = n.renewPerm(part, err)
	}
	// An identity that is there already can still be read.
	if err == nil || exists(identityFile) {
		n.data, n.had.folder = dataDir, filepath.Dir(dataDir)
	}
	switch {
	case err == nil:
		return nil
	case n.data != "":
		return fmt.Errorf("%w; nothing new is kept", err)
	}
	return fmt.Errorf("%w; nothing is kept, and this node has a new identity at each boot", err)
}

var identityFile = filepath.Join(dataDir, statefile.IdentityFile)

// usePerm mounts the persistent partition and makes the folders on it.
func (n *node) usePerm(part disk.Partition) error {
	err := mountExt4(linux.Mount{Source: part.Device(), Target: permDir, Type: "ext4",
		Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME, Data: "errors=remount-ro"})
	if err != nil {
		return err
	}
	n.writable = true
	return preparePerm()
}

// mountExt4 mounts twice where the power was cut. The kernel counts the block
// groups before it replays the journal: where the cut met a growth, all that is
// written after the first mount fails ("structure needs cleaning").
func mountExt4(m linux.Mount) error {
	if replay, err := ext4.NeedsReplay(m.Source); err == nil && replay {
		if err := m.Do(); err != nil {
			return err
		}
		if err := linux.Unmount(m.Target); err != nil {
			return err
		}
	}
	return m.Do()
}

// renewPerm lays an empty file system where there is no usable one, which lost
// says: without one, nothing would ever be kept here again.
func (n *node) renewPerm(part disk.Partition, lost error) error {
	if part.Label != disk.PermName {
		return fmt.Errorf("%w; the partition is named %q and not %s, so it is left as it is", lost, part.Label, disk.PermName)
	}
	n.writable = false
	if err := linux.Unmount(permDir); err != nil {
		return fmt.Errorf("%w; %w", lost, err)
	}
	if err := ext4.LayOn(permTemplate, part.Device()); err != nil {
		return fmt.Errorf("%w; %w", lost, err)
	}
	if err := n.usePerm(part); err != nil {
		return fmt.Errorf("using the file system just laid: %w", err)
	}
	n.report.problem("persistent partition: %v; an empty file system was laid in its place. The identity, the token and all else that was kept are lost, and this node has a new identity from now on", lost)
	return nil
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

// growPerm lets the persistent partition and its file system, small in an image,
// take the rest of the medium. Nothing waits for it.
func (n *node) growPerm() error {
	if !n.writable {
		return nil
	}
	grown, err := grow.Perm(*n.disk, permDir)
	if grown > 0 {
		n.report.say("the persistent partition has grown by %d MiB", grown>>20)
	}
	return err
}

// lookEvery is how often the persistent partition is looked at.
const lookEvery = 10 * time.Second

// watchPerm reports errors that the kernel found on the persistent partition
// before, and waits for it to be lost. There is no repair here: a file system
// that can be mounted stays in use.
func (n *node) watchPerm() error {
	if !n.writable {
		return nil
	}
	part, err := n.disk.Sibling(disk.Perm)
	if err != nil {
		return err
	}
	if count, err := ext4.Errors(part.Name); err != nil {
		n.report.problem("persistent partition: %v", err)
	} else if count > 0 {
		n.report.problem("persistent partition: the kernel has found %d errors in its file system since it was laid; it goes on to be used. To begin with an empty one, flash this medium anew", count)
	}
	for {
		err := permLost(part)
		if n.shutdown.begun.Load() { // it is being unmounted
			return nil
		}
		if err != nil {
			return err
		}
		<-n.clock.After(lookEvery)
	}
}

// permLost says why nothing can be written to a mounted persistent partition.
func permLost(part disk.Partition) error {
	if !exists("/sys/class/block/" + part.Name) {
		return fmt.Errorf("its disk, %s, is gone; nothing more is kept", part.Disk)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(permDir, &fs); err != nil {
		return err
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return errors.New("an error of the disk or of its file system has made it read-only; nothing more is kept until the next start")
	}
	return nil
}
