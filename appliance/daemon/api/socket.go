package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"phase/appliance/machine/linux"
)

// ErrInUse says that another process listens on the socket.
var ErrInUse = errors.New("another plasmd listens there; stop it, or choose another path with --socket")

// dialTime is how long a process that listens has to take a connection.
const dialTime = 2 * time.Second

// maxPath is the longest path of a socket, in bytes (unix(7)).
const maxPath = 107

// Listen makes the socket: for its owner alone (0600), or for the members of a
// group too (0660) when one is named. What a process that is gone left in its
// place is removed; the error wraps ErrInUse when one is there still.
func Listen(path, group string) (net.Listener, error) {
	wrap := func(err error) error { return fmt.Errorf("listening on the socket %s: %w", path, err) }
	if len(path) > maxPath {
		return nil, wrap(fmt.Errorf("its path has %d bytes, and may have %d; choose a shorter one with --socket", len(path), maxPath))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, wrap(err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, wrap(errors.New("there is something else of that name; move it away, or choose another path with --socket"))
		}
		conn, err := net.DialTimeout("unix", path, dialTime)
		if err == nil {
			conn.Close()
			return nil, wrap(ErrInUse)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, wrap(err)
		}
		if err := os.Remove(path); err != nil {
			return nil, wrap(err)
		}
	}
	// Bound under a hidden name and given to the group before it gets its
	// own: there is no moment at which more may open it than should.
	// By way of its folder, whose path may leave no room for another name.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, wrap(err)
	}
	defer dir.Close()
	hidden := fmt.Sprintf("/proc/self/fd/%d/.plasmd-%d", dir.Fd(), os.Getpid())
	if err := os.Remove(hidden); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, wrap(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, wrap(err)
	}
	l.SetUnlinkOnClose(false)
	err = errors.Join(os.Chmod(hidden, 0o600), share(hidden, group))
	if err == nil {
		err = os.Rename(hidden, path)
	}
	if err != nil {
		return nil, errors.Join(wrap(err), l.Close(), os.Remove(hidden))
	}
	return &socket{l, path}, nil
}

// share gives the socket to a group as well.
func share(path, group string) error {
	if group == "" {
		return nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("group %s: its number is %q", group, g.Gid)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("giving it to the group %s: %w", group, err)
	}
	return os.Chmod(path, 0o660)
}

// socket removes its name when it is closed.
type socket struct {
	*net.UnixListener
	path string
}

func (s *socket) Close() error {
	return errors.Join(s.UnixListener.Close(), os.Remove(s.path))
}

func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

type peerKey struct{}

// Peer is the ConnContext of an http.Server: it puts into the context of its
// requests the connection they come by, and the uid at the other end of a unix
// socket, as the kernel knows it.
func Peer(ctx context.Context, conn net.Conn) context.Context {
	kernels, ok := conn.(syscall.Conn)
	if !ok {
		return ctx
	}
	raw, err := kernels.SyscallConn()
	if err != nil {
		return ctx
	}
	ctx = context.WithValue(ctx, connKey{}, raw)
	if _, ok := conn.(*net.UnixConn); !ok {
		return ctx
	}
	uid, err := linux.PeerUID(raw)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}
