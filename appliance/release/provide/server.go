package provide

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a server, sized for a node of 256 MiB: a waiting connection costs
// some ten KiB.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 16 << 10
	maxConns      = 1024
)

// NewServer wraps a handler in a server that slow or many clients cannot
// exhaust: a header must come within ten seconds and 16 KiB.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// The server logs what clients do to it; that is not news on a node.
		ErrorLog: log.New(discard{}, "", 0),
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) {
	slog.Debug(string(p))
	return len(p), nil
}

// connLimiter keeps the number of connections bounded without turning the
// newest ones away.
type connLimiter struct {
	max   int
	order atomic.Uint64 // of the moments at which a connection began to wait

	mu    sync.Mutex
	conns map[*conn]bool
}

// add takes a new connection in. Over the bound the one goes that has waited
// longest for a whole request: the new one itself when all others are at work.
func (l *connLimiter) add(c *conn) {
	c.limiter = l
	c.waits()
	l.mu.Lock()
	l.conns[c] = true
	var oldest *conn
	if len(l.conns) > l.max {
		first := uint64(math.MaxUint64)
		for c := range l.conns {
			if since := c.waiting.Load(); since != 0 && since < first {
				oldest, first = c, since
			}
		}
	}
	l.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
}

func (l *connLimiter) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// Serve answers on a listener until ctx ends, then lets requests at work finish
// for at most drain. It returns nil after such an end. A server is served once.
// When there are more than 1024 connections, the one that has waited longest
// without a whole request is closed in favour of the new one.
func Serve(ctx context.Context, srv *http.Server, ln net.Listener, drain time.Duration) error {
	return serve(ctx, srv, ln, drain, maxConns)
}

func serve(ctx context.Context, srv *http.Server, ln net.Listener, drain time.Duration, most int) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		// The context that ended is what asks for this; draining needs one
		// that goes on.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := srv.Shutdown(bound)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close()
		}
		stopped <- err
	})
	attach(srv)
	err := srv.Serve(listener{ln, &connLimiter{max: most, conns: map[*conn]bool{}}})
	if stop() {
		return err // it ended by itself
	}
	return <-stopped
}
