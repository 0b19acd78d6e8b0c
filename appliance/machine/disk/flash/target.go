package flash

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Target is a disk to write to, or a file that plays one.
type Target struct {
	*os.File
	Size int64 // bytes

	device bool
}

// OpenTarget opens a disk for writing. Nothing may use it; without force it must
// be a whole, removable block device.
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
		// Not even by force: a mounted file system writes its own blocks later
		// and would damage what is written now.
		if used, err := mountedFrom(path); err != nil {
			return nil, err
		} else if used != "" {
			return nil, fmt.Errorf("%s is mounted: unmount %s first", path, used)
		}
		if err := checkTarget(path); err != nil && !force {
			return nil, fmt.Errorf("%w; --force writes to it all the same", err)
		}
		flags |= os.O_EXCL // the kernel refuses while anything uses the device
	}
	if t.File, err = os.OpenFile(path, flags, 0); errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s is in use (mounted elsewhere, as swap, or part of another device): take it out of use first", path)
	} else if err != nil {
		return nil, err
	}
	// Seeking to the end tells the size of files and of block devices alike.
	if t.Size, err = t.Seek(0, io.SeekEnd); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// checkTarget asks the kernel what a block device is.
func checkTarget(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	sys := filepath.Join("/sys/class/block", filepath.Base(real))
	if _, err := os.Stat(filepath.Join(sys, "partition")); err == nil {
		return fmt.Errorf("%s is a partition, not a whole disk", path)
	}
	removable, err := os.ReadFile(filepath.Join(sys, "removable"))
	if err != nil {
		return fmt.Errorf("asking whether %s is removable: %w", path, err)
	}
	// A USB hard disk says it is not removable; its bus says that it is.
	place, err := filepath.EvalSymlinks(sys)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(removable)) != "1" && !strings.Contains(place, "/usb") {
		return fmt.Errorf("%s is not removable", path)
	}
	return nil
}

// mountedFrom is the first mount point of a disk or one of its partitions.
func mountedFrom(path string) (string, error) {
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && (fields[0] == device || isPartition(device, fields[0])) {
			return fields[1], nil
		}
	}
	return "", nil
}

// isPartition says whether a device is a partition of a disk: sda1 of sda,
// nvme0n1p1 of nvme0n1.
func isPartition(disk, device string) bool {
	number, ok := strings.CutPrefix(device, disk)
	number = strings.TrimPrefix(number, "p")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
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
