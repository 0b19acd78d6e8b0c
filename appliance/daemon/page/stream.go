package page

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/network/bounds"
)

const (
	maxStreams   = 64 // of all clients
	streamsOfOne = 8  // of one
	heartbeat    = 5 * time.Second
	writeTime    = 10 * time.Second // for a browser to take one event
	retryMS      = "2000"           // after a stream has ended
)

// Events answers with the parts of the page as server-sent events: all of them at
// first, then each as it changes. With owner, who asks owns the node.
func (p *Page) Events(owner bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			problem.Write(w, http.StatusForbidden, "a page of another site may not follow this node")
			return
		}
		from := bounds.Client(r.RemoteAddr)
		if !p.streams.Enter(from) {
			w.Header().Set("Retry-After", "10")
			problem.Write(w, http.StatusServiceUnavailable,
				fmt.Sprintf("the page is open too often: %d times at once for one address, %d for all; close one, or reload the page to see how things are", streamsOfOne, maxStreams))
			return
		}
		defer p.streams.Leave(from)
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodHead {
			return
		}
		defer p.feed.enter(owner)()
		p.look(r.Context(), owner)
		p.follow(&events{w: w, control: http.NewResponseController(w)}, r, owner)
	})
}

// follow writes events until the browser leaves or the feed ends.
func (p *Page) follow(to *events, r *http.Request, owner bool) {
	to.add("retry: " + retryMS + "\nevent: page\ndata: " + version() + "\n\n")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for at := uint64(0); ; {
		list, now, changed, ended := p.feed.since(at)
		for _, part := range parts {
			if s, ok := list[part.name]; ok && (owner || !part.owner) {
				to.add("event: " + part.name + "\ndata: " + strings.ReplaceAll(s.html, "\n", "\ndata: ") + "\n\n")
			}
		}
		at = now
		if ended || !to.flush() {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-beat.C:
			to.add(":\n\n") // that the node is there, and whether the browser is
		}
	}
}

// events writes a stream. A browser that does not read ends it, and holds up
// nobody else.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	text    strings.Builder
}

func (e *events) add(text string) { e.text.WriteString(text) }

// flush sends what was added; false when the browser is gone.
func (e *events) flush() bool {
	if e.text.Len() == 0 {
		return true
	}
	// Where there are no deadlines, there is no connection to get stuck.
	_ = e.control.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := e.w.Write([]byte(e.text.String()))
	e.text.Reset()
	return err == nil && e.control.Flush() == nil
}
