package api

import (
	"context"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type connKey struct{}

// look is how often a connection is looked at whose other end may have gone,
// and beats is after how many looks something is said to it.
const (
	look  = 250 * time.Millisecond
	beats = 8
)

// disconnect calls left when the requester has gone, until ctx ends. The
// HTTP server notices that itself only when all of the body has been read, and
// a module may leave its input unread for as long as it likes. The end of a TCP
// connection comes behind what was not read either, but what is said to who has
// gone is answered with a reset: say is called for that now and then.
func disconnect(ctx context.Context, say, left func()) {
	conn, ok := ctx.Value(connKey{}).(syscall.RawConn)
	if !ok { // no connection that could end
		return
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if gone(conn) {
			left()
			return
		}
		if n%beats == 0 {
			say()
		}
	}
}

// gone reports whether the other end of a connection is closed.
func gone(conn syscall.RawConn) bool {
	events := []unix.PollFd{{Events: unix.POLLRDHUP}}
	err := conn.Control(func(fd uintptr) {
		events[0].Fd = int32(fd)
		_, _ = unix.Poll(events, 0) // what it did not find out, the next one does
	})
	return err != nil || events[0].Revents != 0
}
