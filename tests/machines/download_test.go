package machines

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// A provider that dies in the middle of a download costs the part it had: the
// node finishes with the other. (It is named as dropped when the other has not
// brought the missing part before that could be called slow.)
func TestProviderDies(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	mortal, other := newToll(4<<20), newToll(0)
	a, b := laptop(t, s, mortal, w.next), laptop(t, s, other, w.next)
	n := w.start(t, s, w.stick(t, a.Setting, b.Setting), qemu.Config{Name: "node"})
	mortal.wait(t)
	cut(s, a.Port(), n.Port(0))
	_, fetched := line(t, n, lab.Begin, lab.LineFetched)
	jumped(t, n, lab.Begin, nextVersion)
	serves(t, n, w.next)
	if sum(other.requests()) == 0 {
		t.Error("the provider that lived was not asked")
	}
	// The node did fetch from the one that died: the network was cut first.
	if found, err := n.Console.Wait(patient(t), `update: found version .* at `+regexp.QuoteMeta(a.URL)); err != nil || found.Index > fetched.Index {
		t.Errorf("the provider that died was not one of them: %v", err)
	}
}

// The same with two machines: the one that is fetched from loses its power.
func TestProviderMachineDies(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	a := w.start(t, s, w.next, qemu.Config{Name: "A"})
	up(t, a, lab.Begin, nextVersion)
	laptop := laptop(t, s, nil, w.next)
	n := w.start(t, s, w.stick(t, laptop.Setting), qemu.Config{Name: "node"})
	after(t, s, a.Port(0), n.Port(0), 4<<20)
	a.Kill()
	line(t, n, lab.Begin, `update: .*dropped http://\[`+a.Addr().String()+`%25eth0\]:8080`)
	jumped(t, n, lab.Begin, nextVersion)
	serves(t, n, w.next)
}

// The only provider goes away in the middle and comes back: what was there
// already is not fetched again.
func TestDownloadResumes(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	var total int64
	for _, a := range w.next.Manifest.Artifacts {
		total += a.Size
	}
	toll := newToll(total - 8<<20) // half of the kernel, which comes last: more of it than a connection holds
	p := laptop(t, s, toll, w.next)
	n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node"})
	toll.wait(t)
	cut(s, p.Port(), n.Port(0))
	first := toll.requests()
	_, gone := line(t, n, lab.Begin, fmt.Sprintf(`update: .*version %d was not taken: .*\((slow|unreachable)\)`, nextVersion))
	if st := status(t, n); st.Update.Last == nil || st.Update.Last.Result != "failed" {
		t.Errorf("/status says of the download: %+v", st.Update.Last)
	}
	up(t, n, lab.Begin, stubVersion) // until it has checked what it runs, it does not call itself healthy
	healthy(t, n)
	s.SetFilter(nil)
	jumped(t, n, gone, nextVersion)

	all := toll.requests()
	// What was on its way when the provider went was lost; 4 MiB is more than
	// a connection holds.
	if got := sum(all); got > total+4<<20 {
		t.Errorf("%d bytes were sent for a release of %d: %v", got, total, all)
	}
	sent := map[string]int64{}
	for _, r := range first {
		sent[r.path] += r.sent
	}
	for _, r := range all[len(first):] {
		if begins(r.span) == 0 && sent[r.path] > 0 {
			t.Errorf("%s was asked for from its beginning again (%d bytes had been sent of it)", r.path, sent[r.path])
		}
	}
}

// begins is the first byte of a Range header; 0 without one.
func begins(span string) int64 {
	first, _, _ := strings.Cut(strings.TrimPrefix(span, "bytes="), "-")
	n, _ := strconv.ParseInt(first, 10, 64) // "" is no range: all of it
	return n
}

func sum(requests []request) (n int64) {
	for _, r := range requests {
		n += r.sent
	}
	return n
}

// cut lets no frame pass between two ports, either way.
func cut(s *qemu.Segment, a, b *qemu.Port) {
	s.SetFilter(func(from, to *qemu.Port, _ []byte) bool { return from == a && to == b || from == b && to == a })
}

// after waits until so many bytes have passed from one port to another.
func after(t *testing.T, s *qemu.Segment, from, to *qemu.Port, bytes int64) {
	t.Helper()
	reached := make(chan struct{})
	s.SetFilter(func(f, d *qemu.Port, frame []byte) (drop bool) {
		if f == from && d == to && bytes > 0 {
			if bytes -= int64(len(frame)); bytes <= 0 {
				close(reached)
			}
		}
		return false
	})
	defer s.SetFilter(nil)
	select {
	case <-reached:
	case <-patient(t).Done():
		t.Fatalf("%d bytes are still to pass from %s to %s", bytes, from.Name(), to.Name())
	}
}

// A power cut in the middle of a download, and one right after the jump: each
// time the machine comes back, whole, and gets there in the end.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	toll := newToll(8 << 20)
	p := laptop(t, s, toll, w.next)
	n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node"})
	id := up(t, n, lab.Begin, stubVersion)
	toll.wait(t)
	cut := powerCycle(t, n)
	up(t, n, cut, stubVersion)
	_, jump := line(t, n, cut, `kexec_core: Starting new kernel`)
	cut = powerCycle(t, n)
	if jump.Index > cut.Index {
		t.Fatal("the events are out of order")
	}
	line(t, n, cut, `booted from stub`)
	line(t, n, cut, `init: problem: release `+w.next.Digest.String()+` was started and did not come up; it may be tried once more`)
	again := jumped(t, n, cut, nextVersion)
	line(t, n, cut, `init: the guard of this trial has ended`) // or it would restart the machine in the end
	line(t, n, cut, `init: release `+w.next.Digest.String()+` is good`)
	if again.Peer != id.Peer || again.Token != id.Token {
		t.Errorf("before the power cuts %+v, after them %+v", id, again)
	}
}

// A power cut just before the jump.
func TestPowerCutBeforeJump(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	p := laptop(t, s, nil, w.next)
	n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node"})
	line(t, n, lab.Begin, `update: fetched and verified`)
	cut := powerCycle(t, n)
	line(t, n, cut, lab.LineJump)
	cut = powerCycle(t, n)
	line(t, n, cut, `booted from stub`)
	jumped(t, n, cut, nextVersion)
}

// powerCycle cuts the power, switches it on again, and returns the event of
// that.
func powerCycle(t *testing.T, n *lab.Node) qemu.Event {
	t.Helper()
	before := n.Console.Last()
	if err := n.PowerCycle(patient(t)); err != nil {
		t.Fatal(err)
	}
	on, err := n.Console.WaitKind(patient(t), before, qemu.PowerOn)
	if err != nil {
		t.Fatal(err)
	}
	return on
}
