package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

type node struct {
	*Status
	signer  *storetest.Signer
	release storetest.Release
	dir     string
	held    error
	clock   time.Time
}

func start(t *testing.T) *node {
	t.Helper()
	signer := storetest.NewSigner(t)
	n := &node{signer: signer, dir: t.TempDir(), clock: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	n.release = signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	s := store.New()
	if err := s.Add(t.Context(), n.release.Verified, n.release.Sources()); err != nil {
		t.Fatal(err)
	}
	n.Status = New(Config{
		Name: "phase-1a2b3c4d", PeerID: "12D3KooWtest", Program: "devel", Version: 7, Channel: "stable", Arch: "arm64",
		Root: signer.Root, Store: s, Held: func() error { return n.held }, Problems: func() []string { return []string{"<b>own</b>"} },
		Sandbox: func() []string { return []string{"rlimit"} }, Dir: n.dir, Now: func() time.Time { return n.clock },
	})
	return n
}

func (n *node) get(t *testing.T, path string, accept ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path, nil)
	for _, a := range accept {
		r.Header.Add("Accept", a)
	}
	n.Count(n.Pages(true)[path]).ServeHTTP(w, r)
	return w
}

func write(t *testing.T, dir, name string, v any) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := statefile.Write(dir, name, v); err != nil {
		t.Fatal(err)
	}
}

func TestHome(t *testing.T) {
	n := start(t)
	n.clock = n.clock.Add(90 * time.Second)
	w := n.get(t, "/")
	want := `{"name":"phase-1a2b3c4d","version":7,"channel":"stable","arch":"arm64","uptime_seconds":90,"peer_id":"12D3KooWtest"}`
	var got, wanted any
	if err := errors.Join(json.Unmarshal(w.Body.Bytes(), &got), json.Unmarshal([]byte(want), &wanted)); err != nil {
		t.Fatal(err)
	}
	if a, _ := json.Marshal(got); string(a) != func() string { b, _ := json.Marshal(wanted); return string(b) }() {
		t.Errorf("/ answered %s", w.Body)
	}
	if w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestHealth(t *testing.T) {
	n := start(t)
	check := func(status int, name, said string) {
		t.Helper()
		w := n.get(t, "/health")
		var h Health
		if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil {
			t.Fatal(err)
		}
		if w.Code != status || (h.Status == "healthy") != (status == 200) || !strings.Contains(h.Checks[name], said) {
			t.Errorf("%d %s, want %d and %s: %s", w.Code, w.Body, status, name, said)
		}
	}
	check(200, "store", "ok")
	n.held = errors.New("still being hashed")
	check(503, "store", "still being hashed")
	n.held = nil
	if err := os.WriteFile(filepath.Join(n.dir, statefile.BootFile), []byte("{torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	check(503, "state", "boot.json")
	write(t, n.dir, statefile.BootFile, statefile.Boot{Mode: "internet"})
	check(200, "state", "ok")
}

// TestRunning: a node that holds a newer release than it runs speaks of the one
// that runs.
func TestRunning(t *testing.T) {
	n := start(t)
	newer := n.signer.Release(t, "stable", "arm64", 8, storetest.Sizes)
	if err := n.Store.Add(t.Context(), newer.Verified, newer.Sources()); err != nil {
		t.Fatal(err)
	}
	if r := n.Report(); r.Release.Version != 8 || r.Info.Version != 8 {
		t.Errorf("a folder: %+v, version %d", r.Release, r.Info.Version)
	}
	n.Running = n.release.Digest().String()
	if r := n.Report(); r.Release.Version != 7 || r.Info.Version != 7 || len(r.Releases) != 2 {
		t.Errorf("a node: %+v, version %d, of %d", r.Release, r.Info.Version, len(r.Releases))
	}
	n.Running, n.Version = "sha256:00", 9
	if r := n.Report(); r.Release != nil || r.Info.Version != 9 {
		t.Errorf("a node that hashes what it runs: %+v, version %d", r.Release, r.Info.Version)
	}
}

func TestStatus(t *testing.T) {
	n := start(t)
	at := n.clock
	write(t, n.dir, statefile.BootFile, statefile.Boot{Mode: "internet", BootedFrom: statefile.FromStub, OptionsUnknown: []string{"phase.x"}, Problems: []string{"no disk"}, Watchdog: "i6300esb", Trial: "sha256:00"})
	write(t, n.dir, statefile.NetFile, statefile.Net{Problems: []string{"no carrier"}})
	write(t, statefile.UpdateFolder(n.dir), statefile.UpdateFile, statefile.Update{State: "idle", Last: &statefile.Attempt{At: at, Provider: "http://192.0.2.1:8080", Version: 9, Result: "refused", Code: "signature", Reason: "a stranger's"}})
	n.get(t, "/health")
	w := n.get(t, "/status")
	var r Report
	if err := strictjson.Unmarshal(w.Body.Bytes(), &r, strictjson.RejectUnknown); err != nil {
		t.Fatal(err)
	}
	if r.Release == nil || r.Release.Version != 7 || r.Release.Digest != n.release.Digest().String() || len(r.Releases) != 1 {
		t.Errorf("release %+v of %d", r.Release, len(r.Releases))
	}
	if got := r.Releases[0].Artifacts["rootfs"]; got.Size != int64(storetest.Sizes["rootfs"]) || !strings.HasPrefix(got.SHA256, "sha256:") {
		t.Errorf("rootfs %+v", got)
	}
	if r.Watchdog != "i6300esb" || r.OptionsUnknown[0] != "phase.x" || r.Mode != "internet" || r.Trial != "sha256:00" || r.Sandbox[0] != "rlimit" {
		t.Errorf("boot %+v", r)
	}
	if got := strings.Join(r.Problems, "|"); got != "<b>own</b>|no disk|no carrier" {
		t.Errorf("problems %q", got)
	}
	if r.Update.Last == nil || r.Update.Last.Code != "signature" || !r.Update.Last.At.Equal(at) {
		t.Errorf("update %+v", r.Update)
	}
	if r.Metrics["http_requests"] != 1 || r.Metrics["http_sent_bytes"] == 0 || r.Metrics["http_requests_in_flight"] != 1 {
		t.Errorf("metrics %v", r.Metrics)
	}
	// Nothing is null that a reader would want to walk through.
	empty := New(Config{Store: store.New(), Held: func() error { return nil }, Now: time.Now})
	w = httptest.NewRecorder()
	empty.Pages(true)["/status"].ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
	for _, want := range []string{`"releases": []`, `"release": null`, `"root": null`, `"options_unknown": []`, `"problems": []`, `"boot": []`, `"sandbox": []`, `"watchdog": "none"`, `"state": "off"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("an empty node's status does not say %s:\n%s", want, w.Body)
		}
	}
}

// What expires within thirty days is said, of the newest root that the node has
// come to know and of what it holds.
func TestExpiry(t *testing.T) {
	n := start(t)
	get := func() (r Report, metrics string) {
		t.Helper()
		if err := strictjson.Unmarshal(n.get(t, "/status").Body.Bytes(), &r, strictjson.RejectUnknown); err != nil {
			t.Fatal(err)
		}
		return r, n.get(t, "/metrics").Body.String()
	}
	root, m := n.signer.Root, n.release.Manifest()
	r, metrics := get()
	if r.Root == nil || r.Root.Version != 1 || !r.Root.Expires.Equal(root.Expires()) || r.Root.Digest != root.Digest().String() || len(r.Problems) != 1 {
		t.Errorf("root %+v, problems %q", r.Root, r.Problems)
	}
	for _, want := range []string{
		"phase_root_version 1", fmt.Sprintf("phase_root_expires_timestamp_seconds %v", float64(root.Expires().Unix())),
		fmt.Sprintf(`phase_release_expires_timestamp_seconds{arch="arm64",channel="stable"} %v`, float64(m.Expires.Unix())),
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
	next := n.signer.Rotate(t).Root
	n.Store.AddRoot(next)
	n.Store.AddRoot(storetest.NewSigner(t).Rotate(t).Rotate(t).Root) // version 3, of a stranger
	for _, c := range []struct {
		now  time.Time
		says string // beside the problem that is there anyway
	}{
		{m.Expires.Add(-31 * 24 * time.Hour), ""},
		{m.Expires.Add(-29 * 24 * time.Hour), "release stable/arm64 version 7 expires in 29 days"},
		{m.Expires, "release stable/arm64 version 7 expired"},
		{next.Expires().Add(-time.Hour), "root version 2 expires in 0 days"},
		{next.Expires().AddDate(70, 0, 0), "root version 2 expired"},
	} {
		n.clock = c.now
		r, metrics := get()
		if said := strings.Join(r.Problems[1:], "\n"); (said == "") != (c.says == "") || !strings.Contains(said, c.says) {
			t.Errorf("at %v: %q, want %q", c.now, said, c.says)
		}
		if r.Root.Version != 2 || !strings.Contains(metrics, "phase_root_version 2") {
			t.Errorf("root %+v", r.Root)
		}
	}
}

func TestMetrics(t *testing.T) {
	n := start(t)
	n.get(t, "/")
	broken := n.Count(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusPartialContent)
		panic(http.ErrAbortHandler)
	}))
	func() {
		defer func() { _ = recover() }()
		broken.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}()
	if err := Counts(n.Registry(), "phase_things_total", "Things.", "what", func() map[string]uint64 { return map[string]uint64{"a": 1, "b": 2} }); err != nil {
		t.Fatal(err)
	}
	w := n.get(t, "/metrics")
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`phase_http_requests_total{code="200"} 1`, `phase_http_requests_total{code="206"} 1`,
		`phase_release_version{arch="arm64",channel="stable"} 7`, "phase_healthy 1", `phase_things_total{what="b"} 2`, "phase_uptime_seconds 0", "go_goroutines ",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("type %q", w.Header().Get("Content-Type"))
	}
}
