package machines

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"phase/appliance/release/manifest"
	"phase/qemu"
	"phase/tests/hostile"
	"phase/tests/lab"
)

// made is what the hostile providers make their offers of.
func made(t *testing.T, w *world) hostile.Made {
	t.Helper()
	others, err := w.WithOtherKeys()
	if err != nil {
		t.Fatal(err)
	}
	m := hostile.Made{
		Running: w.stub.Manifest, Seal: w.Seal, Forge: others.Seal,
		Next: hostile.Release{Manifest: w.next.Manifest, Envelope: w.next.Envelope, Artifacts: map[string][]byte{}},
	}
	for name := range w.next.Manifest.Artifacts {
		if m.Next.Artifacts[name], err = os.ReadFile(w.next.File(name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// hostileProviders puts hostile providers on a segment. Each promises a higher version
// than any honest one.
func hostileProviders(t *testing.T, s *qemu.Segment, channel, arch string, list ...hostile.Provider) map[string]*lab.FakeProvider {
	t.Helper()
	fakes := map[string]*lab.FakeProvider{}
	for i, h := range list {
		p := fakeProvider(t, s, h.Name, h.Serve)
		if err := p.Announce(p.Announcement(channel, arch, 1000+uint64(i))); err != nil {
			t.Fatal(err)
		}
		fakes[h.Name] = p
	}
	return fakes
}

func fakeProvider(t *testing.T, s *qemu.Segment, name string, serve hostile.Serve) *lab.FakeProvider {
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
func allRefused(t *testing.T, n *lab.Node, after qemu.Event, fakes map[string]*lab.FakeProvider, list ...hostile.Provider) {
	t.Helper()
	type refusal struct{ provider, code string }
	want := map[string]refusal{}
	for _, h := range list {
		url := fakes[h.Name].URL
		// On a busy machine a provider may first be refused as slow; it is asked again.
		groups, _, err := n.Line(patient(t), after, `update: .*(?:refused|dropped) `+regexp.QuoteMeta(url)+`: .* \((`+h.Codes+`)\)`)
		if err != nil {
			t.Errorf("%s was not refused with %s: %v", h.Name, h.Codes, err)
			continue
		}
		want[h.Name] = refusal{url, groups[0]}
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

// changed signs a variant of the release that the network has.
func (w *world) changed(t *testing.T, change func(*manifest.Manifest)) lab.Release {
	t.Helper()
	r, err := w.Signed(w.next, change)
	if err != nil {
		t.Fatal(err)
	}
	return r
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
