package api

import (
	"context"
	"net"
)

type endKey struct{}

// telling is a connection of which somebody is told when it is closed.
type telling struct {
	net.Conn
	end func()
}

func (t telling) Close() error {
	t.end()
	return t.Conn.Close()
}

// told has the function in ctx called when conn is closed. The HTTP client
// returns no error before it has read what it was sending, even when nobody is
// there to take it: an input of which nothing comes would keep it for ever.
func told(ctx context.Context, conn net.Conn) net.Conn {
	end, ok := ctx.Value(endKey{}).(func())
	if !ok || conn == nil {
		return conn
	}
	return telling{conn, end}
}
