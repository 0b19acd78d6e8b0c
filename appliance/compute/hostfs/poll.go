package hostfs

import (
	"time"

	"golang.org/x/sys/unix"
)

// Wait says what to wait for on an open file, and whether it has come.
type Wait struct {
	File  File
	Write bool // until it can be written to; else until it can be read from
	Ready bool // it can, or it has failed or ended, which using it will tell
	Ended bool // … and the other end is closed
	Bytes int  // that can be read, where that is known
}

// Poll waits until one of the files is ready or the time is over; with a negative
// timeout there is no limit (ppoll(2)).
func Poll(files []Wait, timeout time.Duration) error {
	list := make([]unix.PollFd, len(files))
	for i, f := range files {
		list[i] = unix.PollFd{Fd: int32(f.File.fd), Events: unix.POLLIN}
		if f.Write {
			list[i].Events = unix.POLLOUT
		}
	}
	for begin := time.Now(); ; {
		var left *unix.Timespec
		if timeout >= 0 {
			t := unix.NsecToTimespec(int64(max(0, timeout-time.Since(begin))))
			left = &t
		}
		_, err := unix.Ppoll(list, left, nil)
		if err == unix.EINTR {
			continue
		}
		for i := range files {
			files[i].Ready = err == nil && list[i].Revents != 0
			files[i].Ended = files[i].Ready && list[i].Revents&unix.POLLHUP != 0
			if files[i].Ready && !files[i].Write {
				files[i].Bytes, _ = unix.IoctlGetInt(files[i].File.fd, unix.TIOCINQ)
			}
		}
		return err
	}
}
