package machines

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/qemu"
	"phase/tests/lab"
)

// hostile is one provider that a node must refuse: how it is called, how it
// answers, and for which reasons it may be refused.
type hostile struct {
	name  string
	serve lab.Serve
	codes string // of the refusal, "slow|unreachable" when the network decides which
}

// hostileProviders puts hostile providers on a segment. Each promises a higher version
// than any honest one.
func hostileProviders(t *testing.T, s *qemu.Segment, channel, arch string, list ...hostile) map[string]*lab.FakeProvider {
	t.Helper()
	fakes := map[string]*lab.FakeProvider{}
	for i, h := range list {
		p := fakeProvider(t, s, h.name, h.serve)
		if err := p.Announce(p.Announcement(channel, arch, 1000+uint64(i))); err != nil {
			t.Fatal(err)
		}
		fakes[h.name] = p
	}
	return fakes
}

func fakeProvider(t *testing.T, s *qemu.Segment, name string, serve lab.Serve) *lab.FakeProvider {
	t.Helper()
	p, err := lab.NewFakeProvider(s, name, serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// honest announces a release that the nodes accept.
func honest(t *testing.T, s *qemu.Segment, name string, r lab.Release) *lab.Provider {
	t.Helper()
	p, err := lab.Provide(t.Context(), s, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	stop, err := p.Announce(name, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return p
}

// allRefused waits until a node has named each hostile provider on its console
// with the right code, and expects the same in /status.
func allRefused(t *testing.T, n *lab.Node, after qemu.Event, fakes map[string]*lab.FakeProvider, list ...hostile) {
	t.Helper()
	type refusal struct{ provider, code string }
	want := map[string]refusal{}
	for _, h := range list {
		url := fakes[h.name].URL
		// On a busy machine a provider may first be refused as slow; it is asked again.
		groups, _, err := n.Line(patient(t), after, `update: .*(?:refused|dropped) `+regexp.QuoteMeta(url)+`: .* \((`+h.codes+`)\)`)
		if err != nil {
			t.Errorf("%s was not refused with %s: %v", h.name, h.codes, err)
			continue
		}
		want[h.name] = refusal{url, groups[0]}
	}
	shown := map[refusal]bool{}
	for _, a := range status(t, n).Update.History {
		if a.Result == "refused" && a.Reason != "" && !a.At.IsZero() {
			shown[refusal{a.Provider, a.Code}] = true
		}
	}
	for name, w := range want {
		if !shown[w] {
			t.Errorf("/status does not show that %s (%s) was refused with %s", name, w.provider, w.code)
		}
	}
}

// stays expects a node to run and serve version still, well, and without a
// reset since the event given.
func stays(t *testing.T, n *lab.Node, after qemu.Event, r lab.Release) {
	t.Helper()
	st := status(t, n)
	if st.Release.Version != r.Manifest.Version || st.Release.Digest != r.Digest.String() || st.Health.Status != "healthy" {
		t.Errorf("%s should have stayed on version %d, well: %+v %+v", n.Name(), r.Manifest.Version, st.Release, st.Health)
	}
	for _, e := range n.Console.Events() {
		if e.Index > after.Index && (e.Kind != qemu.Line && e.Kind != qemu.PowerOn || strings.Contains(e.Text, "Starting new kernel")) {
			t.Errorf("%s: %s", n.Name(), e)
		}
	}
}

// offer answers as a provider that has one manifest, and for artifacts with
// what artifacts says; nil has none.
func offer(data []byte, artifacts http.HandlerFunc) lab.Serve {
	return lab.HTTP(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/"+layout.ManifestFile):
			_, _ = w.Write(data)
		case artifacts != nil:
			artifacts(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// artifact is the name of what is asked for, by digest or by name.
func artifact(m manifest.Manifest, r *http.Request) string {
	for name, a := range m.Artifacts {
		if path := r.URL.Path; strings.HasSuffix(path, "/"+a.SHA256.Hex()) || strings.HasSuffix(path, "/"+layout.FileName(name)) {
			return name
		}
	}
	return ""
}

// changed signs a variant of the release that the network has.
func (w *world) changed(t *testing.T, change func(*manifest.Manifest)) lab.Release {
	t.Helper()
	r, err := w.Signed(w.next, change)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seal signs any bytes with the lab's release keys.
func (w *world) seal(t *testing.T, payload string) []byte {
	t.Helper()
	data, err := w.Seal([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// raw is a machine's serial console, byte for byte.
func raw(t *testing.T, n *lab.Node) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(build(), "tests", t.Name(), n.Name()+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// drip writes head and then a byte a second until it can write no more or ctx
// ends.
func drip(ctx context.Context, write func([]byte) error, head string) {
	if write([]byte(head)) != nil {
		return
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			if write([]byte(" ")) != nil {
				return
			}
		}
	}
}
