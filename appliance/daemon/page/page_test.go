package page

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/daemon/status"
	"phase/appliance/network/peer"
	"phase/appliance/release/operator"
)

// hostile is what a stranger may call a release, a provider or itself.
const hostile = `"'></p></script><script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1) {{.}} ` + "\x00\x1b[2J\r\n\nevent: top\ndata: x"

// full is a report in which all that comes from elsewhere is hostile.
func full(s string) status.Report {
	at := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	return status.Report{
		Info:   status.Info{Name: s, PeerID: s, UptimeSeconds: 3700},
		Health: status.Health{Status: "unhealthy", Checks: map[string]string{s: s, "store": "ok"}},
		Releases: []status.ReleaseInfo{{
			Version: 7, Digest: "sha256:0123456789abcdef", Name: s, Channel: s, Arch: s, Expires: at,
			Artifacts: map[string]status.ArtifactInfo{s: {Size: 1 << 20}},
		}},
		Mode: s, BootedFrom: s, Trial: s, OptionsUnknown: []string{s}, Problems: []string{s},
		Boot:    []statefile.Step{{Name: s, Length: 1}, {Name: statefile.ServingStep, Begin: 1, Length: 2.5}},
		Network: status.Network{Reachability: s, Interfaces: []statefile.Interface{{Name: s, Driver: s, Method: s, Waiting: s, Addresses: []string{s}}}},
		Peers:   []peer.Info{{Peer: s, Path: peer.Path(s), Address: "secret " + s, Direction: s, Agent: s, Reason: s}},
		Update: statefile.Update{
			State: s, Applying: &statefile.Waiting{Version: 8, Why: s}, Waiting: &statefile.Waiting{Version: 9, Why: s, Until: at},
			Failed: []statefile.Failed{{Version: 6, Digest: s, Tries: 2, Reason: s}}, Damaged: []statefile.Damaged{{Version: 5, Digest: s, Missing: []string{s}}},
			History: []statefile.Attempt{{At: at, Provider: s, Version: 8, Digest: s, Result: s, Code: s, Reason: s, By: s}},
		},
	}
}

// node is a page whose report a test changes.
type node struct {
	*Page
	mu     sync.Mutex
	report status.Report
}

func (n *node) set(r status.Report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.report = r
}

func newNode(t *testing.T, s string) *node {
	t.Helper()
	n := &node{report: full(s)}
	n.Page = New(Config{
		Report: func() status.Report {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.report
		},
		Running: "sha256:0123456789abcdef", Disk: t.TempDir(),
		Taken: func(context.Context) []operator.Taken {
			return []operator.Taken{{Version: 7, Digest: s, From: []operator.Source{{Provider: "secret " + s, Bytes: 5}}, By: s}}
		},
	})
	return n
}

func (n *node) get(t *testing.T, owner bool) *httptest.ResponseRecorder {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/html")
	n.Home(http.NotFoundHandler(), owner).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w
}

// TestEscapes: nothing that strangers say becomes a tag, an attribute, a script, an
// address of a link or an event of the stream.
func TestEscapes(t *testing.T) {
	n := newNode(t, hostile)
	for _, owner := range []bool{false, true} {
		body := n.get(t, owner).Body.String()
		if got := strings.Count(body, "<script"); got != 1 {
			t.Errorf("owner %v: %d scripts", owner, got)
		}
		for _, bad := range []string{"<img", "\x00", "\x1b", "\r", `href="javascript`, `"'>`} {
			if strings.Contains(body, bad) {
				t.Errorf("owner %v: the page has %q", owner, bad)
			}
		}
		if !strings.Contains(body, "&lt;img src=x") {
			t.Errorf("owner %v: the page does not show what was said", owner)
		}
		parts, err := n.render(t.Context(), owner)
		if err != nil {
			t.Fatal(err)
		}
		for name, html := range parts {
			if strings.Contains(html, "\n\n") || strings.Contains(html, "\nevent:") || strings.Contains(html, "<script") {
				t.Errorf("the part %s can be taken for more than one event:\n%s", name, html)
			}
		}
	}
}

// TestPolicy: the policy names the style and the script that the page has, by their
// digests, and allows nothing from elsewhere; the page has no other of them.
func TestPolicy(t *testing.T) {
	w := newNode(t, "plain").get(t, false)
	body, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	for _, tag := range []string{"style", "script"} {
		m := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(body, -1)
		if len(m) != 1 {
			t.Fatalf("%d times <%s>", len(m), tag)
		}
		sum := sha256.Sum256([]byte(m[0][1]))
		if want := tag + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("the policy %q does not say %s", policy, want)
		}
	}
	for _, want := range []string{"default-src 'none'", "connect-src 'self'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q does not say %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if m := regexp.MustCompile(`(?i)\son[a-z]+=|\sstyle=|(?:src|href)="(?:https?:)?//|@import|url\(`).FindString(body); m != "" {
		t.Errorf("the page has %q", m)
	}
	if size := len(style) + len(script); size > 20<<10 {
		t.Errorf("style and script have %d bytes", size)
	}
}

// TestOwner: what only the owner may see is in no page, part or stream of others,
// and what others see is the same for the owner.
func TestOwner(t *testing.T) {
	n := newNode(t, "plain")
	if body := n.get(t, false).Body.String(); strings.Contains(body, "secret") || !strings.Contains(body, "For the owner") {
		t.Errorf("others see\n%s", body)
	}
	if body := n.get(t, true).Body.String(); !strings.Contains(body, "secret") || strings.Contains(body, "For the owner") {
		t.Errorf("the owner sees\n%s", body)
	}
	of := map[bool]map[string]string{}
	for _, owner := range []bool{false, true} {
		var err error
		if of[owner], err = n.render(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range parts {
		if text, there := of[false][part.name]; there == part.owner || there && text != of[true][part.name] {
			t.Errorf("%s: for others %q, for the owner %q", part.name, text, of[true][part.name])
		}
	}
}

// TestTells: the page is whole without scripts.
func TestTells(t *testing.T) {
	body := newNode(t, "plain").get(t, false).Body.String()
	for _, want := range []string{
		"Serving 3.5 s after the kernel started", `<rect x="0.00%" width="28.57%"`, `<rect x="28.57%" width="71.43%"`,
		"up 1h1m", "<strong class=\"healthy\">runs</strong>", "2026-11-30 03:00:00 UTC", "version 9 waits", "was tried 2 times",
		"Memory: ", "Disk: ", "<polygon points=\"0,60 ", "images flash -r root.json releases/plain/plain /dev/sdX", `<a href="/stick.img">`,
	} {
		if !strings.Contains(strings.ToLower(body), strings.ToLower(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestJSON: who asks for no HTML is answered as before.
func TestJSON(t *testing.T) {
	w := httptest.NewRecorder()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	newNode(t, "x").Home(next, false).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Body.String() != "{}" || w.Header().Get("Vary") != "Accept" {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

// event is one of a stream.
type event struct{ name, data string }

// stream is a stream of a server.
type stream struct {
	*bufio.Reader
	io.Closer
}

func open(t *testing.T, url string) (stream, *http.Response) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return stream{bufio.NewReader(resp.Body), resp.Body}, resp
}

// next is the next event; comments and retry are passed over.
func (s stream) next(t *testing.T) event {
	t.Helper()
	e, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (s stream) read() (e event, err error) {
	for {
		line, err := s.ReadString('\n')
		if err != nil {
			return e, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case line == "\n" && e.name != "":
			return e, nil
		case field == "event":
			e.name = value
		case field == "data":
			e.data += value + "\n"
		}
	}
}

// until reads until a part says something.
func (s stream) until(t *testing.T, name, text string) {
	t.Helper()
	for {
		if e := s.next(t); e.name == name && strings.Contains(e.data, text) {
			return
		}
	}
}
