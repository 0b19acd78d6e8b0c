package machines

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"os"
	"testing"

	"phase/appliance/daemon/stick"
	"phase/appliance/release/layout"
	"phase/qemu"
	"phase/tests/lab"
)

func TestChainX86(t *testing.T)   { t.Parallel(); chain(t, qemu.X86_64) }
func TestChainARM64(t *testing.T) { t.Parallel(); chain(t, qemu.ARM64) }

// chain: A serves next, B gets it from A, A goes, C gets it from B.
func chain(t *testing.T, arch string) {
	w, s := open(t, arch), segment(t)
	a := w.start(t, s, w.next, qemu.Config{Name: "A"})
	up(t, a, lab.Begin, nextVersion)
	b := w.start(t, s, w.stub, qemu.Config{Name: "B"})
	idB := jumped(t, b, lab.Begin, nextVersion)
	serves(t, b, w.next)
	offersImage(t, b, w.next)

	if err := a.PowerButton(patient(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Console.WaitKind(patient(t), lab.Begin, qemu.PowerOff); err != nil {
		t.Fatal(err)
	}
	c := w.start(t, s, w.stub, qemu.Config{Name: "C"})
	idC := jumped(t, c, lab.Begin, nextVersion)
	serves(t, c, w.next)
	if idB.Digest != w.next.Digest.String() || idC.Digest != idB.Digest {
		t.Errorf("signed %s, B holds %s, C holds %s", w.next.Digest, idB.Digest, idC.Digest)
	}
	if idB.Peer == idC.Peer {
		t.Error("two nodes have one identity")
	}
	if st := status(t, c); st.Release.Version != nextVersion || st.Release.Digest != idC.Digest || st.Peer != idC.Peer {
		t.Errorf("C's status: %+v; its console: %+v", st, idC)
	}
}

// serves compares every file a node serves with the signed one.
func serves(t *testing.T, n *lab.Node, r lab.Release) {
	t.Helper()
	base := "/stable/" + r.Manifest.Arch + "/"
	if got, err := n.Get(patient(t), base+layout.ManifestFile); err != nil || !bytes.Equal(got, r.Envelope) {
		t.Errorf("%s serves another manifest than was signed: %v", n.Name(), err)
	}
	for name := range r.Manifest.Artifacts {
		want, err := os.ReadFile(r.File(name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := n.Get(patient(t), base+name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s serves %d bytes of %s, %d were signed: %v", n.Name(), len(got), name, len(want), err)
		}
	}
}

// offersImage expects the image that A was started from, of B, which was started
// from another one and has taken the release since.
func offersImage(t *testing.T, n *lab.Node, r lab.Release) {
	t.Helper()
	f, err := os.Open(r.Disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	q, err := http.NewRequestWithContext(patient(t), http.MethodGet, n.URL()+stick.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := n.HTTPClient().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, want := sha256.New(), sha256.New()
	size, gotErr := io.Copy(got, answer.Body)
	whole, wantErr := io.Copy(want, f)
	if gotErr != nil || wantErr != nil || size != whole || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("%s offers an image of %d bytes (%s), the one of that release has %d: %v, %v", n.Name(), size, answer.Status, whole, gotErr, wantErr)
	}
}
