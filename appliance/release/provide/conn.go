package provide

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// listener wraps each connection it accepts in a conn.
type listener struct {
	net.Listener
	limiter *connLimiter
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	wrapped := &conn{Conn: c}
	if tcp, ok := c.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil && limitUnsent(raw) == nil {
			wrapped.raw = raw
		}
	}
	l.limiter.add(wrapped)
	return wrapped, nil
}

// conn is a connection of a server.
type conn struct {
	net.Conn
	raw       syscall.RawConn // nil where room does not wait
	answering atomic.Bool     // what is written now comes from a handler
	limiter   *connLimiter
	waiting   atomic.Uint64 // for a whole request since that moment of the limiter; 0 when not
}

type connKey struct{}

// connOf is the connection a request came by, nil where it is no conn.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// attach makes a server put each conn into the context of its requests and say
// whether a handler writes to it. What the server had for that is called as
// before, with the connection below in the context.
func attach(srv *http.Server) {
	handler, inner, state := srv.Handler, srv.ConnContext, srv.ConnState
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		outer, ok := c.(*conn)
		if !ok {
			return ctx
		}
		if inner != nil {
			ctx = inner(ctx, outer.Conn)
		}
		return context.WithValue(ctx, connKey{}, outer)
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connOf(r); c != nil {
			c.answering.Store(true)
		}
		handler.ServeHTTP(w, r)
	})
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		outer, ok := c.(*conn)
		switch {
		case ok && s == http.StateActive:
			outer.waiting.Store(0)
		case ok && s == http.StateIdle:
			// This comes after the last byte of every answer, also when the
			// next request is there already.
			outer.answering.Store(false)
			outer.waits()
		}
		if state != nil {
			state(c, s)
		}
	}
}

// waits says that a connection waits for a request.
func (c *conn) waits() { c.waiting.Store(c.limiter.order.Add(1)) }

// Close closes the connection and gives its place to another one.
func (c *conn) Close() error {
	c.limiter.remove(c)
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer to a client that is still sending.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Read lets the others go first. By then the client's next request is often
// there; a read that finds none costs a system call and being woken up later.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) > 1 { // else net/http looks, during a request, whether the client has gone
		runtime.Gosched()
	}
	return c.Conn.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	if c.answering.Load() {
		return c.Conn.Write(p)
	}
	answer := refusal(p)
	if answer == nil {
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write(answer); err != nil {
		return 0, err
	}
	return len(p), nil
}

// maxUnsent is how many bytes the kernel keeps for a client that reads nothing,
// beside what is on its way to it. Without a bound that is 4 MiB a client.
const maxUnsent = 4 * sendChunk

func limitUnsent(raw syscall.RawConn) (err error) {
	if control := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	}); control != nil {
		return control
	}
	return err
}

// room waits, until the write deadline, for the kernel to take more, and says
// how many bytes it takes at once. So a client that does not read holds no
// buffer. The kernel calls a socket writable when a third of its send buffer is
// free and less than half of maxUnsent waits in it (tcp(7), sk_stream_is_writeable).
func (c *conn) room() (bytes int64, err error) {
	if c.raw == nil {
		return sendChunk, nil
	}
	var size int
	var failed error
	err = c.raw.Write(func(fd uintptr) bool {
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(events, 0)
		if n == 0 || err == unix.EINTR {
			return false // until the kernel says that this has changed
		}
		if failed = err; err == nil {
			size, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return min(sendChunk, max(int64(size)/4, minChunk)), err
}
