package machines

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/images"
	"phase/qemu"
	"phase/tests/hostile"
	"phase/tests/lab"
)

// TestRotatedRoot: a node that was flashed with root 1 comes to root 2 over the
// network, takes the release under it, and comes up with both roots in its
// rootfs: it serves them, and refuses by itself what the key signs that root 2
// took back, however high the version. That its release expires soon is said.
func TestRotatedRoot(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	later, err := w.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	next, err := later.Release(patient(t), nextVersion, lab.NoDisk, func(s *images.Spec) { s.Expires = time.Now().Add(20 * 24 * time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	stolen := w.changed(t, func(m *manifest.Manifest) { m.Version = manifest.MaxVersion })

	p := honest(t, s, honestName, next)
	for _, root := range later.Roots.Roots() {
		p.Store.AddRoot(root)
	}
	n := w.start(t, s, w.stub, qemu.Config{Name: "node"})
	jumped(t, n, lab.Begin, nextVersion)
	if err := p.Close(); err != nil { // from here on the node has its own roots alone
		t.Fatal(err)
	}
	after := n.Console.Last()
	line(t, n, lab.Begin, `problem: release stable/\w+ version \d+ expires in 19 days`)
	for _, root := range later.Roots.Roots() {
		if got, err := n.Get(patient(t), "/"+layout.Root(root.Version())); err != nil || !bytes.Equal(got, root.Raw()) {
			t.Errorf("root version %d: %v", root.Version(), err)
		}
	}
	var st struct {
		Root struct{ Version uint64 } `json:"root"`
	}
	if data, err := n.Get(patient(t), "/status"); err != nil || json.Unmarshal(data, &st) != nil || st.Root.Version != 2 {
		t.Errorf("root %+v in /status, %v", st.Root, err)
	}
	list := []hostile.Provider{{Name: "thief", Codes: "signature", Serve: hostile.Offer(stolen.Envelope, nil)}}
	allRefused(t, n, after, hostileProviders(t, s, "stable", w.Arch, list...), list...)
	stays(t, n, after, next)
}
