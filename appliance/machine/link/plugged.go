package link

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// plugged returns a channel that holds a value whenever something was plugged
// in or pulled out of this machine, also what no driver makes an interface of.
// What it was is not read: the reader lists everything anew.
func plugged(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("subscribing to what is plugged in: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribing to what is plugged in: %w", err), unix.Close(fd))
	}
	events := os.NewFile(uintptr(fd), "uevents")
	stop := context.AfterFunc(ctx, func() { events.Close() })
	news := make(chan struct{}, 1)
	go func() {
		defer stop()
		defer events.Close()
		for buf := make([]byte, 4096); ; {
			// Overflow lost messages; more than fits in buf is cut off.
			if _, err := events.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return news, nil
}
