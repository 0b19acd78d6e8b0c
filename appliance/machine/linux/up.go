package linux

import (
	"time"

	"golang.org/x/sys/unix"
)

// Up is how long this machine has been up, suspended time included; 0 when that is
// not known.
func Up() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// Patience is a time for something to happen on this machine: so many times as long
// as it took it to come this far, since a slow machine is slow in all it does, but
// no less than least and no more than most.
func Patience(up time.Duration, times int, least, most time.Duration) time.Duration {
	return min(max(up*time.Duration(times), least), most)
}
