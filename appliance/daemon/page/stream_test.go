package page

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"phase/tests/await"
)

// serve has a page with streams for others at /events and for the owner at
// /v1/events, and follows the node until stop is called.
func serve(t *testing.T) (n *node, url string, stop func()) {
	t.Helper()
	n = newNode(t, "plain")
	mux := http.NewServeMux()
	mux.Handle("/events", n.Events(false))
	mux.Handle("/v1/events", n.Events(true))
	s := httptest.NewServer(mux)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		s.Close()
	})
	return n, s.URL, cancel
}

// TestStream: a stream begins with the version of the page and all of its parts,
// and then has those alone that have changed.
func TestStream(t *testing.T) {
	n, url, _ := serve(t)
	s, resp := open(t, url+"/events")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	if e := s.next(t); e.name != "page" || strings.TrimSpace(e.data) != version() {
		t.Fatalf("the first event is %+v", e)
	}
	for _, part := range parts {
		if part.owner {
			continue
		}
		if e := s.next(t); e.name != part.name {
			t.Errorf("an event %q, want %q", e.name, part.name)
		}
	}
	r := full("plain")
	r.Problems = []string{"one more"}
	n.set(r)
	for {
		e := s.next(t)
		if e.name == "machine" { // its figures may change at any time
			continue
		}
		if e.name != "problems" || !strings.Contains(e.data, "one more") {
			t.Errorf("the next event is %+v", e)
		}
		break
	}
}

// TestStreamOfTheOwner: beside a stream of the owner that of others still has
// nothing of what is the owner's.
func TestStreamOfTheOwner(t *testing.T) {
	n, url, stop := serve(t)
	own, _ := open(t, url+"/v1/events")
	own.until(t, "peers", "secret")
	others, _ := open(t, url+"/events")
	r := full("plain")
	r.Peers[0].Address, r.Problems = "secret too", []string{"the end"}
	n.set(r)
	own.until(t, "peers", "secret too")
	others.until(t, "problems", "the end")
	stop()
	rest, err := io.ReadAll(others)
	if err != nil || strings.Contains(string(rest), "secret") {
		t.Errorf("%v, others read %s", err, rest)
	}
	owners := map[string]bool{}
	for _, part := range parts {
		owners[part.name] = part.owner
	}
	again, _ := open(t, url+"/events") // with all that the feed holds
	for {
		e, err := again.read()
		if err != nil {
			break
		}
		if owners[e.name] {
			t.Errorf("others read %+v", e)
		}
	}
}

// TestEnds: the streams end when the daemon does, and new ones do at once.
func TestEnds(t *testing.T) {
	_, url, stop := serve(t)
	s, _ := open(t, url+"/events")
	s.next(t)
	stop()
	if _, err := io.ReadAll(s); err != nil {
		t.Errorf("the stream does not end, but fails: %v", err)
	}
	late, _ := open(t, url+"/events")
	if _, err := io.ReadAll(late); err != nil {
		t.Error(err)
	}
}

// TestBounded: one client has so many streams and no more, with a word on why, and
// a place again when one has left.
func TestBounded(t *testing.T) {
	_, url, _ := serve(t)
	var all []stream
	for range streamsOfOne {
		s, resp := open(t, url+"/events")
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		all = append(all, s)
	}
	_, resp := open(t, url+"/events")
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "open too often") {
		t.Errorf("one too many: %s %s", resp.Status, text)
	}
	all[0].Close()
	if err := await.Until(t.Context(), func() bool {
		s, resp := open(t, url+"/events")
		defer s.Close()
		return resp.StatusCode == http.StatusOK
	}); err != nil {
		t.Error(err)
	}
}

// TestOtherSites: a page of another site cannot have a browser hold streams.
func TestOtherSites(t *testing.T) {
	n := newNode(t, "x")
	for site, want := range map[string]int{"": 200, "none": 200, "same-origin": 200, "same-site": 403, "cross-site": 403} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, "/events", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		if n.Events(false).ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: %d, want %d", site, w.Code, want)
		}
	}
}

// stuck is a browser that takes nothing.
type stuck struct {
	http.ResponseWriter
	blocked chan struct{}
}

func (s stuck) Write([]byte) (int, error) {
	<-s.blocked
	return 0, io.ErrClosedPipe
}

// TestStuck: a browser that takes nothing holds up neither others nor the end.
func TestStuck(t *testing.T) {
	n, url, _ := serve(t)
	w := stuck{httptest.NewRecorder(), make(chan struct{})}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		n.Events(false).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events", nil))
	}()
	s, _ := open(t, url+"/events")
	s.next(t)
	r := full("plain")
	r.Problems = []string{"moves on"}
	n.set(r)
	s.until(t, "problems", "moves on")
	close(w.blocked) // as its deadline does
	<-gone
}
