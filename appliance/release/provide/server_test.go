package provide

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// listening starts a server as a node does and returns its address and its end.
func listening(t *testing.T, h http.Handler, drain time.Duration, change func(*http.Server)) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(h)
	if change != nil {
		change(srv)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, srv, l, drain) }()
	t.Cleanup(cancel)
	return l.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// However many hold a connection without sending a request, the next one is
// served; those who wait longest lose theirs.
func TestSlowHeadersShutNobodyOut(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, NewServer(ok), l, time.Second, 8) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var slow []net.Conn
	for range 30 {
		c := dial(t, addr)
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := slow[0].Read(make([]byte, 1)); err == nil {
		t.Error("the oldest of the slow ones was not let go")
	}
}

func TestSlowHeaderEnds(t *testing.T) {
	addr, _ := listening(t, http.NotFoundHandler(), time.Second, func(s *http.Server) { s.ReadHeaderTimeout = 50 * time.Millisecond })
	c := dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n") // it may be closed already
	// Closed it is, with a word of the kernel's about what came too late or not.
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection was not closed: %v", err)
	}
}

func TestLargeHeader(t *testing.T) {
	addr, _ := listening(t, http.NotFoundHandler(), time.Second, nil)
	c := dial(t, addr)
	go func() {
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Large: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %v, %v", resp, err)
	}
}

// A body that nobody asked for does not hold the connection.
func TestUnwantedBody(t *testing.T) {
	f := start(t, map[string]int{"kernel": 10, "initramfs": 10, "rootfs": 10})
	c := dial(t, strings.TrimPrefix(f.url, "http://"))
	if _, err := io.WriteString(c, "POST /manifest.json HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusMethodNotAllowed || !resp.Close {
		t.Fatalf("answered %v, %v", resp, err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("there is more after the answer")
	}
}

// Two requests on one connection, the second long after the first's deadline
// would have struck, had it been left standing.
func TestKeepAlive(t *testing.T) {
	f := start(t, map[string]int{"kernel": 10, "initramfs": 10, "rootfs": 10})
	c := dial(t, strings.TrimPrefix(f.url, "http://"))
	in := bufio.NewReader(c)
	for range 3 {
		if _, err := io.WriteString(c, "GET /stable/x86_64/kernel HTTP/1.1\r\nHost: x\r\nRange: bytes=0-3\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 206 || resp.Close {
			t.Fatalf("answered %v, %v", resp, err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 4 {
			t.Fatal(n, err)
		}
	}
}

func TestServeDrains(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	addr, stop := listening(t, h, 20*time.Second, nil)
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			answered <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		answered <- string(body)
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	// No new connection is taken, and the request at work comes to its end.
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		c.Close()
	}
	close(finish)
	if got := <-answered; got != "done" {
		t.Errorf("the request at work got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeDrainIsBounded(t *testing.T) {
	begun := make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done() // ends when its connection is closed
	})
	addr, stop := listening(t, h, 50*time.Millisecond, nil)
	go func() {
		if resp, err := http.Get("http://" + addr); err == nil {
			resp.Body.Close()
		}
	}()
	<-begun
	if err := stop(); err != nil {
		t.Error(err)
	}
}
