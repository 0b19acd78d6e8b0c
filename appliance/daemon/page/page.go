// Package page shows a person at a browser what a node is and does: one page,
// rendered here, whole without scripts and without anything from elsewhere, and
// a stream of events by which its parts are kept up to date.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/compute/history"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/status"
	"phase/appliance/network/bounds"
	"phase/appliance/release/operator"
)

// Config is what a page is made of. What may be nil is not shown then.
type Config struct {
	Report  func() status.Report
	Running string // digest of the release that runs, "" for none
	Disk    string // a folder of the file system whose room is shown, "" for none
	// Runs and History are of the jobs; both nil where none are run.
	Runs    *scheduler.Scheduler
	History *history.History
	// Taken are the releases that were taken last, nil where nothing is updated.
	Taken func(context.Context) []operator.Taken
}

// Page shows a node. It is safe for use by many at once. Config is complete
// before the first request.
type Page struct {
	Config
	streams *bounds.Bounds[string]
	feed    feed

	looking sync.Mutex // one look at a time
	samples samples
	taken   taken
}

// New returns a page.
func New(c Config) *Page {
	return &Page{Config: c, streams: bounds.New[string](maxStreams, streamsOfOne), feed: newFeed()}
}

//go:embed page.html
var source string

//go:embed page.css
var style string

//go:embed page.js
var script string

// parts are the sections of the page by the names of their templates, and
// whether only the owner sees them.
var parts = []struct {
	name  string
	owner bool
}{
	{"top", false}, {"problems", false}, {"boot", false}, {"releases", false}, {"update", false}, {"taken", true},
	{"jobs", true}, {"peers", true}, {"network", false}, {"machine", false},
}

// templates are parsed when the first page is asked for: other programs in the
// same binary have no page.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(functions).Parse(source))
})

// version tells a browser that the page it shows is of another program.
var version = sync.OnceValue(func() string {
	sum := sha256.Sum256([]byte(source + "\x00" + style + "\x00" + script))
	return hex.EncodeToString(sum[:8])
})

// policy is the content security policy: the page's own style and script by their
// digests, requests to the node itself, and nothing else.
var policy = sync.OnceValue(func() string {
	digest := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return strings.Join([]string{
		"default-src 'none'", "style-src " + digest(style), "script-src " + digest(script), "connect-src 'self'",
		"img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
})

// Home answers "/": the page for who asks for HTML, and next for all others. With
// owner, who asks owns the node, as the socket's users do.
func (p *Page) Home(next http.Handler, owner bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if !wantsHTML(r.Header.Values("Accept")) {
			next.ServeHTTP(w, r)
			return
		}
		var body bytes.Buffer
		if err := templates().ExecuteTemplate(&body, "page", p.view(r.Context(), owner)); err != nil {
			problem.Write(w, http.StatusInternalServerError, "making the page: "+err.Error())
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(body.Len()))
		h.Set("Content-Security-Policy", policy())
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = body.WriteTo(w) // a browser that has left needs no answer
	})
}

// render makes the parts, those of the owner too where they are asked for.
func (p *Page) render(ctx context.Context, owner bool) (map[string]string, error) {
	v, all := p.view(ctx, owner), map[string]string{}
	for _, part := range parts {
		if part.owner && !owner {
			continue
		}
		var text bytes.Buffer
		if err := templates().ExecuteTemplate(&text, part.name, v); err != nil {
			return nil, err
		}
		all[part.name] = text.String()
	}
	return all, nil
}

// taken are the releases that were taken last, asked for now and then alone: the
// program update is asked each time.
type taken struct {
	at   time.Time
	list []operator.Taken
}

const (
	takenEvery = 5 * time.Second
	takenTime  = 2 * time.Second // for an answer
)

// takenNow must be called by one at a time.
func (p *Page) takenNow(ctx context.Context) []operator.Taken {
	if p.Taken == nil {
		return nil
	}
	if now := time.Now(); now.Sub(p.taken.at) >= takenEvery {
		ctx, cancel := context.WithTimeout(ctx, takenTime)
		defer cancel()
		p.taken.at, p.taken.list = now, p.Taken(ctx)
	}
	return p.taken.list
}
