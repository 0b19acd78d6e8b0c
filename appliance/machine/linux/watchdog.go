package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Watchdog is a hardware timer that resets the machine unless it is petted
// (Documentation/watchdog/watchdog-api.rst in Linux). The zero value is none.
type Watchdog struct {
	file *os.File
	name string
}

// OpenWatchdog starts the machine's watchdog. A machine without one is no
// error: the Watchdog then does nothing and is named "none".
func OpenWatchdog(timeout time.Duration) (Watchdog, error) {
	f, err := os.OpenFile("/dev/watchdog", os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Watchdog{}, nil
	}
	if err != nil {
		return Watchdog{}, fmt.Errorf("opening the watchdog: %w", err)
	}
	w := Watchdog{file: f, name: "watchdog"}
	if info, err := unix.IoctlGetWatchdogInfo(int(f.Fd())); err == nil {
		if name := strings.TrimRight(string(info.Identity[:]), "\x00"); name != "" {
			w.name = name
		}
	}
	return w, w.SetTimeout(timeout)
}

// Name is the driver's name for itself, or "none".
func (w Watchdog) Name() string {
	if w.file == nil {
		return "none"
	}
	return w.name
}

// SetTimeout says how long after the last Pet the machine is reset.
func (w Watchdog) SetTimeout(d time.Duration) error {
	if w.file == nil {
		return nil
	}
	if err := unix.IoctlSetPointerInt(int(w.file.Fd()), unix.WDIOC_SETTIMEOUT, int(d/time.Second)); err != nil {
		return fmt.Errorf("setting the watchdog to %s: %w", d, err)
	}
	return w.Pet()
}

// Pet starts the timer anew.
func (w Watchdog) Pet() error {
	if w.file == nil {
		return nil
	}
	if err := unix.IoctlWatchdogKeepalive(int(w.file.Fd())); err != nil {
		return fmt.Errorf("petting the watchdog: %w", err)
	}
	return nil
}

// HardwareWatchdog says whether a watchdog of this name works without the kernel
// that it watches: "none" is none, and softdog (drivers/watchdog/softdog.c) is part
// of the kernel.
func HardwareWatchdog(name string) bool {
	return name != "" && name != "none" && name != "Software Watchdog"
}
