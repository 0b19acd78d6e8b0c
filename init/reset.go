package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/ext4"
	"phase/appliance/machine/linux"
)

// resetMark says that the persistent partition is to be laid anew at the next
// start: nothing on it is in use then.
var resetMark = filepath.Join(permDir, "phase", "reset")

// markReset has the next start forget all that is kept. The mark is on the disk
// when it returns, so a power cut changes nothing.
func (n *node) markReset() error {
	if !n.writable {
		return errors.New("this node keeps nothing on a disk, so there is nothing to forget: a restart is enough")
	}
	if err := statefile.Replace(resetMark, nil, 0o600); err != nil {
		return fmt.Errorf("noting that all is to be forgotten: %w", err)
	}
	n.report.say("all that is kept is going to be forgotten, at the next start")
	return nil
}

// resetPerm lays the persistent partition anew, because an operator wants it. A cut
// leaves the mark, or nothing that looks like a file system, which is laid anew too.
func (n *node) resetPerm(part disk.Partition) error {
	if part.Label != disk.PermName {
		return fmt.Errorf("all that is kept was to be forgotten, but the partition is named %q and not %s, so it is left as it is", part.Label, disk.PermName)
	}
	n.writable = false
	if err := linux.Unmount(permDir); err != nil {
		return fmt.Errorf("forgetting all that was kept: %w", err)
	}
	if err := ext4.LayOn(permTemplate, part.Device()); err != nil {
		return fmt.Errorf("forgetting all that was kept: %w", err)
	}
	if err := n.usePerm(part); err != nil {
		return fmt.Errorf("using the file system just laid: %w", err)
	}
	n.report.say("an operator had all forgotten that was kept: this node has a new identity from now on")
	return nil
}
