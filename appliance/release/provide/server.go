package provide

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
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
// exhaust: a header must come within ten seconds and 16 KiB, and when there are
// more than 1024 connections, the one that has waited longest without a whole
// request is closed in favour of the new one.
func NewServer(h http.Handler) *http.Server {
	s := &shed{max: maxConns, conns: map[net.Conn]connState{}}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.see,
		// The server logs what clients do to it; that is not news on a node.
		ErrorLog: log.New(discard{}, "", 0),
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) {
	slog.Debug(string(p))
	return len(p), nil
}

// shed keeps the number of connections bounded without turning the newest ones
// away.
type shed struct {
	mu    sync.Mutex
	max   int
	seq   uint64
	conns map[net.Conn]connState
}

type connState struct {
	waiting bool   // for a whole request
	since   uint64 // order of the last change
}

func (s *shed) see(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
		return
	case http.StateActive:
		s.conns[c] = connState{false, s.seq}
		return
	}
	s.conns[c] = connState{true, s.seq}
	if len(s.conns) <= s.max {
		return
	}
	// Over the bound: the oldest that waits goes; the newest itself when all
	// others are at work.
	var oldest net.Conn
	for conn, st := range s.conns {
		if st.waiting && (oldest == nil || st.since < s.conns[oldest].since) {
			oldest = conn
		}
	}
	delete(s.conns, oldest)
	oldest.Close()
}

// Serve answers on a listener until ctx ends, then lets requests at work finish
// for at most drain. It returns nil after such an end. A server is served once.
func Serve(ctx context.Context, srv *http.Server, ln net.Listener, drain time.Duration) error {
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
	err := srv.Serve(refusing(srv, ln))
	if stop() {
		return err // it ended by itself
	}
	return <-stopped
}
