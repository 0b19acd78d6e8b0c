package provide

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

// accepted is a connection as a server gets it, and its other end.
func accepted(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := dial(t, l.Addr().String())
	c, err := listener{l, &connLimiter{max: 1, conns: map[*conn]bool{}}}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*conn), client
}

// The kernel takes at once what room says, whatever the client reads; when it
// takes nothing any more, room waits, holding no buffer, until the deadline.
func TestRoom(t *testing.T) {
	c, client := accepted(t)
	if c.raw == nil {
		t.Fatal("room does not wait on a TCP connection")
	}
	sent := int64(0)
	for {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		room, err := c.room()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil || room < minChunk || room > sendChunk {
			t.Fatalf("room for %d bytes, %v", room, err)
		}
		if err := c.Conn.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		var taken int
		var failed error
		if err := c.raw.Write(func(fd uintptr) bool {
			taken, failed = syscall.Write(int(fd), make([]byte, room))
			return true
		}); err != nil || failed != nil || int64(taken) != room {
			t.Fatalf("of %d bytes %d were taken: %v, %v", room, taken, err, failed)
		}
		sent += room
	}
	if err := c.Conn.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, client, sent); err != nil {
		t.Fatal(n, err)
	}
	if room, err := c.room(); err != nil || room < minChunk {
		t.Errorf("after all was read there is room for %d bytes, %v", room, err)
	}
}

// A client that stops reading is given up, and one beside it gets its bytes.
func TestClientsThatStopReading(t *testing.T) {
	f := start(t, map[string]int{"kernel": 8 << 20, "initramfs": 1, "rootfs": 1})
	broken := make(chan any, 1)
	h := Handler(Config{Store: f.store, Channel: "stable", Arch: "x86_64"})
	addr, stop := listening(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "stalled" {
			defer func() {
				broken <- recover()
				panic(http.ErrAbortHandler)
			}()
			w = hasty{w}
		}
		h.ServeHTTP(w, r)
	}), time.Second, nil)
	if _, err := io.WriteString(dial(t, addr), "GET /stable/x86_64/kernel HTTP/1.1\r\nHost: stalled\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + addr + "/stable/x86_64/kernel")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 8<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	resp.Body.Close()
	if err := <-broken; err != http.ErrAbortHandler {
		t.Errorf("the download that nobody reads ended with %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// hasty makes each write deadline come soon.
type hasty struct{ http.ResponseWriter }

func (h hasty) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h hasty) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		t = time.Now().Add(10 * time.Millisecond)
	}
	return http.NewResponseController(h.ResponseWriter).SetWriteDeadline(t)
}
