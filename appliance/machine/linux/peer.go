package linux

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// PeerUID is the user who opened the other end of a unix socket (SO_PEERCRED of
// unix(7)).
func PeerUID(conn syscall.RawConn) (uid uint32, err error) {
	var refused error
	err = conn.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if refused = err; err == nil {
			uid = cred.Uid
		}
	})
	return uid, errors.Join(err, refused)
}
