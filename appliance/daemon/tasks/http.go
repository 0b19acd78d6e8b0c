package tasks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/appliance/release/provide"
)

// HTTP answers on a listener. When its context ends, requests at work have
// drain to finish.
func HTTP(l net.Listener, h http.Handler, drain time.Duration) Task {
	return New(func(ctx context.Context, ready func()) error {
		server := provide.NewServer(h)
		server.ConnContext = api.Peer
		ready() // the kernel takes connections from the time of listening
		return provide.Serve(ctx, server, l, drain)
	})
}

// Listen opens the address to serve on. For "::" the host is left out, which
// means both families, or IPv4 alone where the kernel has no IPv6.
func Listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, program.Usagef("%q is not an address to listen on, like [::]:8080: %w", address, err)
	}
	if host == "::" {
		host = ""
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("serving http on %s: another program listens there; stop it, or choose another port", address)
	}
	if err != nil {
		return nil, fmt.Errorf("serving http on %s: %w", address, err)
	}
	return listener, nil
}

// Port of a listener that Listen has opened.
func Port(l net.Listener) uint16 { return l.Addr().(*net.TCPAddr).AddrPort().Port() }

// Queue ends the jobs when its context does: those that run have drain to
// finish before they are cancelled. Drained is closed when none runs any more.
func Queue(r *scheduler.Scheduler, drain time.Duration) (queue Task, drained <-chan struct{}) {
	over := make(chan struct{})
	return New(func(ctx context.Context, ready func()) error {
		ready()
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		r.Stop(bound)
		close(over)
		return nil
	}), over
}
