package linux

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// AttachLoop makes a read-only block device of file and returns its path. The
// device goes away by itself when the last mount of it does.
func AttachLoop(file *os.File) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("attaching %s: %w", file.Name(), err)
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
	copy(config.Info.File_name[:], file.Name())
	// Somebody else may take the free device between the two calls.
	for range 16 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("attaching %s: finding a free loop device: %w", file.Name(), err)
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		device, err := os.OpenFile(path, os.O_RDONLY, 0)
		if err != nil {
			return "", fmt.Errorf("attaching %s: %w", file.Name(), err)
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			// Kept open: closing it now would clear the device before it is mounted.
			held = append(held, device)
			return path, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return "", fmt.Errorf("attaching %s to %s: %w", file.Name(), path, err)
		}
	}
	return "", fmt.Errorf("attaching %s: every loop device was taken by somebody else", file.Name())
}

// held keeps loop devices open for the life of the process.
var held []*os.File
