package provide

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"phase/appliance/base/problem"
)

// A request that is no HTTP, has a header too large or an Expect that nobody
// knows is answered by net/http itself, in plain text, and no handler is asked.
// It offers no way to say it otherwise, so those answers are put into the form
// of all others where they leave: on the connection.

// refusing makes a server on a listener answer in problem documents even what
// never reaches its handler.
func refusing(srv *http.Server, ln net.Listener) net.Listener {
	handler, inner, state := srv.Handler, srv.ConnContext, srv.ConnState
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		outer, ok := c.(*conn)
		if !ok {
			return ctx
		}
		ctx = context.WithValue(ctx, connKey{}, outer)
		if inner != nil {
			ctx = inner(ctx, outer.Conn)
		}
		return ctx
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			c.answering.Store(true)
		}
		handler.ServeHTTP(w, r)
	})
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		// Idle comes after the last byte of every answer, also when the next
		// request is there already.
		if outer, ok := c.(*conn); ok && s == http.StateIdle {
			outer.answering.Store(false)
		}
		if state != nil {
			state(c, s)
		}
	}
	return listener{ln}
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

type connKey struct{}

type conn struct {
	net.Conn
	answering atomic.Bool // what is written now comes from a handler
}

// CloseWrite lets net/http end an answer to a client that is still sending.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
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

// refusal is the problem document in place of an error in plain text; nil when
// the bytes are no whole answer with an error's status.
func refusal(p []byte) []byte {
	head, body, whole := bytes.Cut(p, []byte("\r\n\r\n"))
	first, _, _ := strings.Cut(string(head), "\r\n")
	proto, rest, _ := strings.Cut(first, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !whole || err != nil || !strings.HasPrefix(proto, "HTTP/1.") || status < 400 || status > 599 {
		return nil
	}
	// "400 Bad Request: malformed Host header" says what the status does not.
	detail := strings.TrimPrefix(string(body), code+" "+http.StatusText(status))
	w := &kept{header: http.Header{}}
	w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	problem.Write(w, status, strings.TrimPrefix(detail, ": "))
	resp := http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		ContentLength: int64(w.body.Len()), Body: io.NopCloser(&w.body),
	}
	var out bytes.Buffer
	if resp.Write(&out) != nil {
		return nil
	}
	return out.Bytes()
}

// kept is a ResponseWriter that keeps what is written.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }
