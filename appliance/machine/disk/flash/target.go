package flash

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
)

// Target is a disk to write to, or a file that plays one.
type Target struct {
	*os.File
	gpt.Geometry
	About Candidate // of a block device

	device bool
}

// OpenTarget opens a disk for writing. Nothing may use it; without force it must
// be a whole, removable block device. What there is to doubt about one that
// is opened by force, Doubt says.
func OpenTarget(path string, force bool) (*Target, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	t := &Target{device: info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0}
	flags := os.O_RDWR
	switch {
	case !t.device && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is neither a block device nor a file", path)
	case !t.device && !force:
		return nil, fmt.Errorf("%s is not a block device; --force writes to it all the same", path)
	case t.device:
		if t.About, err = Look(path); err != nil {
			return nil, err
		}
		// Not even by force: a mounted file system writes its own blocks later
		// and would damage what is written now.
		if t.About.Refused != "" {
			return nil, errors.New(t.About.Refused)
		}
		if doubt := t.Doubt(); doubt != "" && !force {
			return nil, fmt.Errorf("%s is %s; --force writes to it all the same", path, doubt)
		}
		flags |= os.O_EXCL // the kernel refuses while anything uses the device
	}
	if t.File, err = os.OpenFile(path, flags, 0); errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s is in use (mounted elsewhere, as swap, or part of another device): take it out of use first", path)
	} else if err != nil {
		return nil, err
	}
	if t.Geometry, err = disk.Measure(t.File); err != nil {
		return nil, errors.Join(fmt.Errorf("measuring %s: %w", path, err), t.Close())
	}
	return t, nil
}

// Doubt is why somebody may not mean this device; empty: it is a stick, or a file
// that plays one.
func (t *Target) Doubt() string {
	switch {
	case t.About.Partition:
		return "a partition, not a whole disk"
	case t.device && !t.About.Removable:
		return "not removable"
	}
	return ""
}

// Settle waits until everything is on the disk and forgets what is in memory,
// so that reading back reads the disk.
func (t *Target) Settle() error {
	if err := t.Sync(); err != nil {
		return err
	}
	if t.device {
		if _, err := unix.IoctlRetInt(int(t.Fd()), unix.BLKFLSBUF); err != nil {
			return fmt.Errorf("BLKFLSBUF: %w", err)
		}
		return nil
	}
	return unix.Fadvise(int(t.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// Reread asks the kernel to read the new partition table. Where the kernel
// refuses, it reads the table when the stick is plugged in again.
func (t *Target) Reread() {
	if t.device {
		unix.IoctlRetInt(int(t.Fd()), unix.BLKRRPART)
	}
}
