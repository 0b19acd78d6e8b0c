package main

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"

	"phase/qemu"
)

// nodePort is where a node's HTTP is.
const nodePort = 8080

// forward passes each connection on to the machine. One that the machine does not take, because it is not up yet, is closed.
func forward(ctx context.Context, listener net.Listener, m *qemu.Machine, s *qemu.Segment) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			to, err := dial(ctx, m, s)
			if err != nil {
				return
			}
			defer to.Close()
			var there sync.WaitGroup
			there.Go(func() { pass(to, c) })
			pass(c, to)
			there.Wait()
		}()
	}
}

// dial tries the address Linux gives the machine, then those it was seen to use: in private mode it chooses its own.
func dial(ctx context.Context, m *qemu.Machine, s *qemu.Segment) (net.Conn, error) {
	addrs := append(m.Port(0).Addrs(), m.Addr())
	var err error
	for i := len(addrs) - 1; i >= 0; i-- {
		var c net.Conn
		if c, err = s.Dial(ctx, "tcp", net.JoinHostPort(addrs[i].String(), strconv.Itoa(nodePort))); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func pass(to, from net.Conn) {
	io.Copy(to, from)
	if w, ok := to.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
}
