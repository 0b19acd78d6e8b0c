// Package linux makes the calls to the Linux kernel: mounts, loop devices,
// memory figures, the console, the watchdog, and those that do not return (jump,
// restart, power off). The irreversible calls are methods of Running and are made
// nowhere else, so that a test can put another Kernel in its place.
package linux

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel makes the calls that end the running system.
type Kernel interface {
	// Loaded says whether a kernel waits for Jump.
	Loaded() (bool, error)
	// Jump starts the kernel that was loaded. It returns only on an error.
	Jump() error
	// Restart goes through the firmware. It returns only on an error.
	Restart() error
	// PowerOff returns only on an error.
	PowerOff() error
}

// Running is the kernel this program runs on.
type Running struct{}

// LoadAllowed reports why this kernel would refuse to load another, before
// anything is downloaded for it.
func LoadAllowed() error {
	const file = "/proc/sys/kernel/kexec_load_disabled"
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("this kernel cannot load another one: it was built without kexec")
	}
	if err != nil {
		return fmt.Errorf("asking whether a kernel may be loaded: %w", err)
	}
	if strings.TrimSpace(string(data)) != "0" {
		return fmt.Errorf("this kernel may not load another one (%s is %s); restart to lift that", file, strings.TrimSpace(string(data)))
	}
	return nil
}

// Loaded implements Kernel.
func (Running) Loaded() (bool, error) {
	data, err := os.ReadFile("/sys/kernel/kexec_loaded")
	if errors.Is(err, os.ErrNotExist) { // moved in Linux 6.19
		data, err = os.ReadFile("/sys/kernel/kexec/loaded")
	}
	if err != nil {
		return false, fmt.Errorf("asking whether a kernel is loaded: %w", err)
	}
	return strings.TrimSpace(string(data)) == "1", nil
}

// Jump implements Kernel.
func (Running) Jump() error { return reboot("jumping", unix.LINUX_REBOOT_CMD_KEXEC) }

// Restart implements Kernel.
func (Running) Restart() error { return reboot("restarting", unix.LINUX_REBOOT_CMD_RESTART) }

// PowerOff implements Kernel.
func (Running) PowerOff() error { return reboot("powering off", unix.LINUX_REBOOT_CMD_POWER_OFF) }

func reboot(what string, cmd int) error {
	err := unix.Reboot(cmd)
	if err == nil {
		err = errors.New("the kernel came back")
	}
	return fmt.Errorf("%s: reboot(%#x): %w", what, cmd, err)
}

// TakeCtrlAltDel makes the kernel send SIGINT to PID 1 on Ctrl-Alt-Del instead
// of restarting at once.
func TakeCtrlAltDel() error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fmt.Errorf("taking over Ctrl-Alt-Del: %w", err)
	}
	return nil
}
