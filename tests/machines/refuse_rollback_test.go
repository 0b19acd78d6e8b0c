package machines

import (
	"testing"

	"phase/appliance/release/manifest"
	"phase/qemu"
	"phase/tests/hostile"
	"phase/tests/lab"
)

// older are a release before the one the network has, another of the same
// version, and one before the stub.
func older(t *testing.T, w *world) []hostile.Provider {
	t.Helper()
	before := w.changed(t, func(m *manifest.Manifest) { m.Version = nextVersion - 1 })
	twin := w.changed(t, func(m *manifest.Manifest) { m.Name = "twin" })
	ancient := w.changed(t, func(m *manifest.Manifest) { m.Version = stubVersion - 1 })
	return []hostile.Provider{
		{Name: "before", Serve: hostile.Offer(before.Envelope, nil), Codes: "rollback"},
		{Name: "twin", Serve: hostile.Offer(twin.Envelope, nil), Codes: "equivocation"},
		{Name: "ancient", Serve: hostile.Offer(ancient.Envelope, nil), Codes: "rollback"},
	}
}

// A node without a disk that has jumped has what it runs for its floor.
func TestRefuseRollbackDiskless(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	bare, err := w.Bare(w.stub)
	if err != nil {
		t.Fatal(err)
	}
	p := honest(t, s, honestName, w.next)
	n := w.start(t, s, w.stub, bare.Config(qemu.Config{Name: "node"}))
	jumped(t, n, lab.Begin, nextVersion)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	after := n.Console.Last()
	list := older(t, w)
	allRefused(t, n, after, hostileProviders(t, s, "stable", w.Arch, list...), list...)
	stays(t, n, after, w.next)
	serves(t, n, w.next)
}

// A node with a disk refuses the same after its jump, and, back on its stub
// after a power cut, refuses what is older than that.
func TestRefuseRollback(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	p := honest(t, s, honestName, w.next)
	n := w.start(t, s, w.stub, qemu.Config{Name: "node"})
	jumped(t, n, lab.Begin, nextVersion)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	after := n.Console.Last()
	list := older(t, w)
	fakes := hostileProviders(t, s, "stable", w.Arch, list...)
	allRefused(t, n, after, fakes, list...)
	stays(t, n, after, w.next)

	// The floor outlives a power cut, as the release does: the stub starts it again.
	on := powerCycle(t, n)
	up(t, n, on, nextVersion)
	after = n.Console.Last()
	allRefused(t, n, on, fakes, list...)
	stays(t, n, after, w.next)
}
