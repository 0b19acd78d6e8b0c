package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Mount is one line of a table of mounts.
type Mount struct {
	Source string
	Target string
	Type   string
	Flags  uintptr // unix.MS_…
	Data   string  // options of the file system
	Make   bool    // make Target first; it lies on a file system that can be written
}

// System are the mounts every node has. What the kernel or the initramfs has
// mounted before (EBUSY) is left as it is. nosuid, noexec and nodev wherever
// nothing is meant to be run or opened as a device.
var System = []Mount{
	{Source: "devtmpfs", Target: "/dev", Type: "devtmpfs", Flags: unix.MS_NOSUID},
	{Source: "proc", Target: "/proc", Type: "proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{Source: "sysfs", Target: "/sys", Type: "sysfs", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{Source: "run", Target: "/run", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=755,size=25%"},
	{Source: "tmp", Target: "/tmp", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777,size=25%"},
	{Source: "devpts", Target: "/dev/pts", Type: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Make: true},
	{Source: "shm", Target: "/dev/shm", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777,size=25%", Make: true},
	{Source: "cgroup2", Target: Cgroups, Type: "cgroup2", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
}

// EFIVars is where the firmware's variables are, on a machine that has them.
var EFIVars = Mount{Source: "efivarfs", Target: "/sys/firmware/efi/efivars", Type: "efivarfs", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC}

// Do mounts m. That something is mounted there already is no error.
func (m Mount) Do() error {
	if m.Make {
		if err := os.MkdirAll(m.Target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("mounting %s: %w", m.Target, err)
		}
	}
	err := unix.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data)
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting %s (%s) on %s: %w", m.Source, m.Type, m.Target, err)
	}
	return nil
}

// MountAll mounts a table, line after line, and returns what went wrong with
// any of them: a machine that lacks one is still a machine.
func MountAll(table []Mount) []error {
	var errs []error
	for _, m := range table {
		if err := m.Do(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Unmount takes target away, at once if it can, else as soon as its last user
// is gone; before that it is made read-only, so that what is on it is whole.
func Unmount(target string) error {
	err := unix.Unmount(target, 0)
	if err == nil || errors.Is(err, unix.EINVAL) { // EINVAL: nothing is mounted there
		return nil
	}
	_ = unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") // best effort: the lazy unmount below is what counts
	if lazy := unix.Unmount(target, unix.MNT_DETACH); lazy != nil {
		return fmt.Errorf("unmounting %s: %w", target, err)
	}
	return nil
}
