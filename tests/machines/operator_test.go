package machines

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/daemon/api"
	"phase/appliance/release/operator"
	"phase/qemu"
	"phase/tests/await"
	"phase/tests/lab"
)

// lastVersion comes after the release that the network has first.
const lastVersion = 40

// plasmdOnce builds the program that a person has, and returns its path.
var plasmdOnce = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(filepath.Join(build(), "tests", "laptop"))
	if err != nil {
		return "", err
	}
	for program, name := range map[string]string{"phase": "plasmd", "phase-worker": "phase-worker"} {
		command := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, name), "phase/programs/"+program)
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w: %s", name, err, out)
		}
	}
	return filepath.Join(dir, "plasmd"), nil
})

// person is somebody with a computer of their own on a segment.
func person(t *testing.T, s *qemu.Segment, name, at string) *lab.Laptop {
	t.Helper()
	plasmd, err := plasmdOnce()
	if err != nil {
		t.Fatal(err)
	}
	logs := filepath.Join(build(), "tests", t.Name(), name)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := lab.StartLaptop(patient(t), s, plasmd, logs, netip.MustParsePrefix(at), netip.MustParseAddr("10.1.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// remote is a node as its operator has it: a peer id, and a computer elsewhere.
type remote struct {
	*lab.Laptop
	node string
}

// run is `plasmd update …` for the node.
func (r remote) run(ctx context.Context, command string, args ...string) (string, error) {
	out, err := r.Run(ctx, nil, "update "+command, append([]string{"--on", r.node}, args...)...)
	return string(out), err
}

// do gives an order that must be carried out, and returns what the node said.
func (r remote) do(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := r.run(patient(t), command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused gives an order that must not be carried out, for a reason.
func (r remote) refused(t *testing.T, why, command string, args ...string) {
	t.Helper()
	if out, err := r.run(patient(t), command, args...); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("update %s: %s, %v; want %q", command, out, err, why)
	}
}

// report asks until the node is reached and its report is as wanted.
func (r remote) report(t *testing.T, want string, is func(operator.Report) bool) operator.Report {
	t.Helper()
	var u api.Updated
	var last string
	for ctx := patient(t); ; {
		if err := await.Until(ctx, func() bool {
			out, err := r.run(ctx, "status", "--json")
			last = fmt.Sprint(out, err)
			u = api.Updated{}
			return err == nil && json.Unmarshal([]byte(out), &u) == nil && is(u.Report)
		}); err == nil {
			return u.Report
		} else if ctx.Err() != nil {
			t.Fatalf("not %s: %s", want, last)
		}
	}
}

func reached(operator.Report) bool { return true }
func letGo(r operator.Report) bool { return r.Held == nil }
func waits(r operator.Report) bool { return r.Waiting != nil }
func runs(version uint64) func(operator.Report) bool {
	return func(r operator.Report) bool { return r.Running != nil && r.Running.Version == version }
}
func held(version uint64) func(operator.Report) bool {
	return func(r operator.Report) bool { return r.Held != nil && r.Held.Version == version }
}

// operated starts a node that has an admin, and returns it as that admin has it.
func (w *world) operated(t *testing.T, s *qemu.Segment, clock time.Time, settings ...string) (*lab.Node, remote, lab.Identity) {
	t.Helper()
	admin := remote{Laptop: person(t, s, "admin", "10.1.0.8/24")}
	settings = append(settings, "phase.ip=10.1.0.2/24", "phase.admin="+admin.Peer)
	n := w.start(t, s, w.roomyStick(t, settings...), qemu.Config{Name: "node", Clock: clock})
	id := up(t, n, lab.Begin, stubVersion)
	admin.node = id.Peer
	return n, admin, id
}

// TestOperator: an admin far from a node, whose window is closed and whose clock has
// no battery, holds it, lets go, has it take what waits and sends it back; it stays
// there. A stranger, and the holder of the node's token, change nothing.
func TestOperator(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	p := laptop(t, s, nil, w.next)
	n, admin, id := w.operated(t, s, time.Unix(0, 0), p.Setting, "phase.window=never")
	stranger := remote{person(t, s, "stranger", "10.1.0.9/24"), id.Peer}

	r := admin.report(t, "waiting", waits)
	if r.Waiting.Version != nextVersion || !strings.Contains(r.Waiting.Why, "phase.window=never") || r.Held != nil || r.Admins != admin.Peer || r.Node != id.Peer {
		t.Errorf("closed: %+v, held %+v, admins %q, node %q", r.Waiting, r.Held, r.Admins, r.Node)
	}
	if off := time.Since(r.Clock); off < 12*time.Hour {
		t.Errorf("its clock is %v behind, so orders are not bound to it by chance", off)
	}
	if text := admin.do(t, "status"); !strings.Contains(text, "\nclock     reads ") {
		t.Errorf("status says nothing of the clock:\n%s", text)
	}
	if st := status(t, n); st.Update.Waiting == nil || st.Update.Waiting.Why != r.Waiting.Why {
		t.Errorf("/status says %+v is waited for", st.Update.Waiting)
	}
	for _, order := range []string{"hold", "apply", "status"} {
		stranger.refused(t, "is no admin of this node", order)
	}
	if _, err := n.Order(patient(t), id.Token, "hold"); err == nil || !strings.Contains(err.Error(), "takes orders from its admins alone") {
		t.Errorf("the token's holder: %v", err)
	}
	if r := admin.report(t, "reached", reached); r.Held != nil || r.Applying != nil {
		t.Errorf("after orders that were refused: held %+v, applying %+v", r.Held, r.Applying)
	}
	admin.do(t, "hold")
	if r := admin.report(t, "held", held(stubVersion)); r.Held.By != admin.Peer {
		t.Errorf("held by %q", r.Held.By)
	}
	admin.do(t, "resume")
	admin.report(t, "let go", letGo)

	before := n.Console.Last()
	admin.do(t, "apply")
	jumped(t, n, before, nextVersion)
	line(t, n, before, `init: release `+w.next.Digest.String()+` is good`)
	r = admin.report(t, "on the next", runs(nextVersion))
	if len(r.Taken) != 1 {
		t.Fatalf("taken: %+v", r.Taken)
	}
	if one := r.Taken[0]; one.By != admin.Peer || one.Digest != w.next.Digest.String() || len(one.From) != 1 || one.From[0].Provider != p.URL ||
		one.From[0].Bytes == 0 || one.Seconds <= 0 || one.Root != 1 || one.At.IsZero() {
		t.Errorf("provenance: %+v", one)
	}
	t.Logf("plasmd update status:\n%s", admin.do(t, "status"))

	before = n.Console.Last()
	if out := admin.do(t, "rollback"); !strings.Contains(out, "going back to the stub") {
		t.Errorf("rollback: %s", out)
	}
	up(t, n, before, stubVersion)
	admin.report(t, "held on the stub", held(stubVersion))
	if out := admin.do(t, "check"); !strings.Contains(out, "is not taken now: this node is held") {
		t.Errorf("check: %s", out)
	}
	if st := status(t, n); st.Release.Version != stubVersion || st.Update.Waiting == nil || !strings.Contains(st.Update.Waiting.Why, "this node is held") {
		t.Errorf("/status after going back: %+v, %+v", st.Release, st.Update.Waiting)
	}
	t.Logf("plasmd update status:\n%s", admin.do(t, "status"))
}

// TestOperatorHolds: a node that is held takes nothing of what comes, over a power
// cut too; what its admin has it take it is held on then; let go, it takes the next
// by itself; and sent back, it goes to the release before, in its store, and stays.
func TestOperatorHolds(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	last, err := w.Release(patient(t), lastVersion)
	if err != nil {
		t.Fatal(err)
	}
	p := laptop(t, s, nil)
	n, admin, _ := w.operated(t, s, time.Time{}, p.Setting)
	admin.report(t, "reached", reached)
	admin.do(t, "hold")
	offered(t, p, w.next)
	heldBack(t, n, admin, nextVersion)
	on := powerCycle(t, n)
	up(t, n, on, stubVersion)
	admin.report(t, "held after a power cut", held(stubVersion))
	heldBack(t, n, admin, nextVersion)

	admin.do(t, "apply", "--release", w.next.Digest.String())
	jumped(t, n, on, nextVersion)
	admin.report(t, "held on what it was told to take", held(nextVersion))
	offered(t, p, last)
	heldBack(t, n, admin, lastVersion)

	before := n.Console.Last()
	admin.do(t, "resume")
	jumped(t, n, before, lastVersion)
	line(t, n, before, `init: release `+last.Digest.String()+` is good`)
	if r := admin.report(t, "on the last", runs(lastVersion)); r.Held != nil || r.Taken[0].By != "itself" || r.Taken[1].By != admin.Peer {
		t.Errorf("held %+v, taken %+v", r.Held, r.Taken)
	}

	before = n.Console.Last()
	if out := admin.do(t, "rollback"); !strings.Contains(out, fmt.Sprintf("held on version %d", nextVersion)) {
		t.Errorf("rollback: %s", out)
	}
	jumped(t, n, before, nextVersion)
	admin.report(t, "held on the one before", held(nextVersion))
	heldBack(t, n, admin, lastVersion)
	on = powerCycle(t, n)
	line(t, n, on, fmt.Sprintf(`kexec: loaded version %d `, nextVersion))
	up(t, n, on, nextVersion)
	admin.report(t, "held on the one before, after a power cut", held(nextVersion))
	heldBack(t, n, admin, lastVersion)
}

// offered has a provider of a node serve a release too.
func offered(t *testing.T, p *lab.Provider, r lab.Release) {
	t.Helper()
	if err := p.Add(patient(t), r); err != nil {
		t.Fatal(err)
	}
}

// heldBack expects a node to have found a release and not to take it, for it is held.
func heldBack(t *testing.T, n *lab.Node, admin remote, version uint64) {
	t.Helper()
	want := fmt.Sprintf("version %d is there, and is not taken now: this node is held on a release", version)
	if out := admin.do(t, "check"); !strings.Contains(out, want) {
		t.Errorf("check: %s, want %q", out, want)
	}
	if w := status(t, n).Update.Waiting; w == nil || w.Version != version || !strings.Contains(w.Why, "this node is held") {
		t.Errorf("/status: waiting %+v", w)
	}
}

// TestOperatorFarClock: orders reach a node whose clock is a lifetime ahead. It takes
// nothing, as all has expired there, and its admin is told why, by both clocks.
func TestOperatorFarClock(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	p := laptop(t, s, nil, w.next)
	n, admin, id := w.operated(t, s, time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), p.Setting)
	admin.report(t, "reached", reached)
	admin.do(t, "check")
	admin.refused(t, "`plasmd update status` says what was refused", "apply")
	text := admin.do(t, "status")
	for _, want := range []string{"\nclock     reads 2090-01-01 ", time.Now().UTC().Format(" there, and 2006-01-02 "), "by the clock it is 2090-01-01", "set the clock of this machine"} {
		if !strings.Contains(text, want) {
			t.Errorf("status does not say %q:\n%s", want, text)
		}
	}
	admin.do(t, "hold")
	admin.report(t, "held", held(stubVersion))
	admin.do(t, "resume")
	admin.report(t, "let go", letGo)
	healthy(t, n)
	if again := up(t, n, lab.Begin, stubVersion); again != id || lines(n, `init: Phase `) != 1 {
		t.Errorf("it was %+v and is %+v, and came up %d times", id, again, lines(n, `init: Phase `))
	}
}
