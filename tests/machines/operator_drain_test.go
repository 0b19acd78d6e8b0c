package machines

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/release/operator"
	"phase/tests/lab"
)

// drained is a node with jobs, as its operator has it.
type drained struct {
	remote
	n      *lab.Node
	id     lab.Identity
	module string // echo
}

// TestOperatorDrains: a node that is told to take a release has what runs on it end
// first. A job that can does, and has its receipt; one that waits, and a new one, are
// refused; one that does not end is ended, and has a receipt of that.
func TestOperatorDrains(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	last, err := w.Release(patient(t), lastVersion)
	if err != nil {
		t.Fatal(err)
	}
	p := laptop(t, s, nil, w.next)
	n, admin, id := w.operated(t, s, time.Time{}, p.Setting, "phase.window=never", "phase.accept=all")
	d := drained{admin, n, id, filepath.Join(t.TempDir(), "echo.wasm")}
	if err := os.WriteFile(d.module, []byte(echo), 0o600); err != nil {
		t.Fatal(err)
	}
	admin.report(t, "waiting", waits)
	d.ends(t)
	line(t, n, lab.Begin, `init: release `+w.next.Digest.String()+` is good`)
	offered(t, p, last)
	admin.do(t, "check")
	d.isCutOff(t, lastVersion)
}

// ended is a job that is over.
type ended struct {
	lab.Answer
	err error
}

// work has the node run echo, and spin has it do what never ends.
func (d drained) work(t *testing.T, in io.Reader) <-chan ended {
	ctx, over := patient(t), make(chan ended, 1)
	go func() {
		var e ended
		var out []byte
		if out, e.err = d.Run(ctx, in, "execute-job", "--json", "--memory", "16", "--timeout", "280s", "--on", d.id.Peer, d.module); e.err == nil {
			e.err = json.Unmarshal(out, &e.Answer)
		}
		over <- e
	}()
	return over
}

func (d drained) spin(t *testing.T) <-chan ended {
	ctx, over := patient(t), make(chan ended, 1)
	go func() {
		var e ended
		e.Answer, e.err = d.n.Job(ctx, d.id.Token, []byte(spinner), "", func(j *job.Job) { j.MemoryMB, j.TimeoutSeconds = 16, enough })
		over <- e
	}()
	return over
}

// until waits for a run in a state, the newest, and returns it.
func (d drained) until(t *testing.T, state history.State) history.Run {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for ctx := patient(t); ; {
		list, err := d.n.Runs(ctx, d.id.Token)
		if err == nil && len(list) > 0 && list[0].State == state {
			return list[0]
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("no run is %s: %+v, %v", state, list, err)
		}
	}
}

// drains has the node take its next release, until it waits for its jobs.
func (d drained) drains(t *testing.T) {
	t.Helper()
	d.do(t, "apply", "--no-wait")
	d.report(t, "draining", func(r operator.Report) bool { return r.State == "draining" })
}

func (d drained) ends(t *testing.T) {
	input, typed := io.Pipe()
	t.Cleanup(func() { typed.Close() })
	echoed := d.work(t, input)
	d.until(t, history.Running)
	waiting := d.spin(t)
	d.until(t, history.Queued)
	before := d.n.Console.Last()
	d.drains(t)

	for name, over := range map[string]<-chan ended{"that waited": waiting, "that is new": d.work(t, strings.NewReader("too late"))} {
		if e := <-over; e.err == nil || !strings.Contains(e.err.Error(), "QueueFull") || !strings.Contains(e.err.Error(), "about to restart") {
			t.Errorf("a job %s: %+v", name, e)
		}
	}
	const text = "typed while it drains"
	if _, err := io.WriteString(typed, text); err != nil {
		t.Fatal(err)
	}
	typed.Close()
	e := <-echoed
	if e.err != nil || string(e.Stdout) != text {
		t.Fatalf("the job that could end: %q, %v", e.Stdout, e.err)
	}
	d.receipt(t, e.Receipt, job.Exited)
	jumped(t, d.n, before, nextVersion)
	kept, err := d.n.Receipt(patient(t), d.id.Token, e.RunID)
	if err != nil || !sameJSON(t, kept, e.Receipt) {
		t.Errorf("after the jump its receipt is %s, %v", kept, err)
	}
}

func (d drained) isCutOff(t *testing.T, version uint64) {
	spun := d.spin(t)
	run := d.until(t, history.Running)
	before := d.n.Console.Last()
	d.drains(t)
	line(t, d.n, before, `update: warn: 1 job not ended in 30s: cut off`)
	jumped(t, d.n, before, version)
	e := <-spun
	t.Logf("its requester heard %+v", e)
	kept, err := d.n.Receipt(patient(t), d.id.Token, run.RunID)
	if err != nil {
		t.Fatal(err)
	}
	d.receipt(t, kept, job.Cancelled)
}

// receipt holds a receipt to the key of the node.
func (d drained) receipt(t *testing.T, data []byte, outcome job.Outcome) {
	t.Helper()
	key, err := identity.ParsePeerID(d.id.Peer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := receipt.Verify(data, receipt.Pin{PeerID: d.id.Peer, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if s.Predicate.Outcome != outcome {
		t.Errorf("the receipt says %s, want %s", s.Predicate.Outcome, outcome)
	}
}
