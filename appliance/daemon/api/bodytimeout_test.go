package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// hasty is a server with a short Patience.
func hasty(t *testing.T) *httptest.Server {
	t.Helper()
	c, _ := node(t)
	c.Patience = time.Second // longer than a busy machine keeps a requester from sending
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	return httptest.NewServer(h)
}

// begin sends the head of a job of so many bytes and the first of them.
func begin(t *testing.T, s *httptest.Server, kind string, length int, first []byte) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("POST /v1/jobs HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", token, kind, length)
	if _, err := conn.Write(append([]byte(head), first...)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// deadlines records how long a handler gives its requester to read.
type deadlines struct {
	*httptest.ResponseRecorder
	given []time.Duration
}

func (d *deadlines) SetReadDeadline(time.Time) error { return nil }

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	if !at.IsZero() {
		d.given = append(d.given, time.Until(at))
	}
	return nil
}

// Patience holds for each event of a stream, and for an answer in one piece.
func TestPatience(t *testing.T) {
	c, _ := node(t)
	c.Patience = time.Hour
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{streamType, "application/json"} {
		kind, body := form(t, part{"module", empty})
		r := httptest.NewRequest(http.MethodPost, "/v1/jobs", body)
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Accept", accept)
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, r)
		if w.Code != 200 || len(w.given) == 0 {
			t.Fatalf("%s: %d %s, %d deadlines", accept, w.Code, w.Body, len(w.given))
		}
		for _, given := range w.given {
			if given <= defaultPatience || given > c.Patience {
				t.Errorf("%s: %v are given, want %v", accept, given, c.Patience)
			}
		}
	}
}

// Who sends a part of a job and no more, or reads nothing of the answer, keeps
// the place of no other for ever.
func TestRequestersThatStop(t *testing.T) {
	d := describe(t)
	s := hasty(t)
	kind, body := form(t, part{"module", empty})
	for i := range limits.PerRequester {
		conn := begin(t, s, kind, body.Len(), body.Bytes()[:20*i])
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%d bytes were sent: %v", 20*i, err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%d bytes were sent: %s %s %v", 20*i, resp.Status, text, err)
		}
		if err := d.answers("POST /v1/jobs", "408", resp.Header.Get("Content-Type"), text); err != nil {
			t.Error(err)
		}
	}
	if status, _, text := post(t, s, token, kind, bytes.NewReader(body.Bytes())); status != 200 {
		t.Errorf("a job after them: %d %s", status, text)
	}

	kind, body = form(t, part{"module", catModule(t)}, part{"stdin", bytes.Repeat([]byte("a"), 16<<20)})
	begin(t, s, kind, body.Len(), body.Bytes())
	ended := make(chan struct{})
	go func() {
		s.Close() // waits for the requests that are not over
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the answer that nobody reads is still being sent")
	}
}
