package machines

import (
	"testing"

	"phase/appliance/release/manifest"
	"phase/qemu"
	"phase/tests/lab"
)

// older are a release before the one the network has, another of the same
// version, and one before the stub.
func older(t *testing.T, w *world) []hostile {
	t.Helper()
	before := w.changed(t, func(m *manifest.Manifest) { m.Version = nextVersion - 1 })
	twin := w.changed(t, func(m *manifest.Manifest) { m.Name = "twin" })
	ancient := w.changed(t, func(m *manifest.Manifest) { m.Version = stubVersion - 1 })
	return []hostile{
		{"before", offer(before.Envelope, nil), "rollback"},
		{"twin", offer(twin.Envelope, nil), "equivocation"},
		{"ancient", offer(ancient.Envelope, nil), "rollback"},
	}
}

// A node without a disk that has jumped has what it runs for its floor.
func TestRefuseRollbackDiskless(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, qemu.X86_64), segment(t)
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
	w, s := open(t, qemu.X86_64), segment(t)
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

	// The floor of a stub that keeps no store is the stub itself: what the
	// network had before next is newer than that, and not offered here.
	for _, name := range []string{"before", "twin"} {
		if err := fakes[name].Close(); err != nil {
			t.Fatal(err)
		}
	}
	on := powerCycle(t, n)
	up(t, n, on, stubVersion)
	allRefused(t, n, on, fakes, named(list, "ancient")...)
	stays(t, n, on, w.stub)
}
