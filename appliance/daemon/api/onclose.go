package api

import (
	"context"
	"net"
)

type onCloseKey struct{}

// withOnClose has close called when the connection of a request is closed. The
// HTTP client returns no error before it has read what it was sending, even
// when the other end is gone: an input of which nothing comes would keep
// it for ever.
func withOnClose(ctx context.Context, close func()) context.Context {
	return context.WithValue(ctx, onCloseKey{}, close)
}

// closeCaller is a connection that calls a function before it is closed.
type closeCaller struct {
	net.Conn
	onClose func()
}

func (c closeCaller) Close() error {
	c.onClose()
	return c.Conn.Close()
}

// onClose makes conn call the function that withOnClose put into ctx, if any.
func onClose(ctx context.Context, conn net.Conn) net.Conn {
	call, ok := ctx.Value(onCloseKey{}).(func())
	if !ok || conn == nil {
		return conn
	}
	return closeCaller{conn, call}
}
