package main

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/control"
	"phase/appliance/machine/linux"
	"phase/appliance/release/trial"
)

// fakeClock moves by itself: a wait is over at once, and the time is later by it.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	over := make(chan time.Time, 1)
	over <- c.now
	return over
}

// events are what a node did, in order.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, what)
}

func (e *events) want(t *testing.T, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.list, want) {
		t.Errorf("it did %q, want %q", e.list, want)
	}
}

// fakeJournal writes its calls into the events. Each write fails with fail, and
// waits for slow where there is one.
type fakeJournal struct {
	events *events
	fail   error
	failed bool
	record trial.Record
	slow   chan struct{}
	writes chan struct{} // one for each write that has begun
}

func (j *fakeJournal) write(what string) error {
	j.events.add(what)
	select {
	case j.writes <- struct{}{}:
	default:
	}
	if j.slow != nil {
		<-j.slow
	}
	return j.fail
}

func (j *fakeJournal) Where() string { return "test" }
func (j *fakeJournal) Begin(d names.Digest, _ uint64, expect trial.Expect) error {
	j.record.Expect = expect
	return j.write("begin " + d.String())
}
func (j *fakeJournal) Find(names.Digest) (trial.Record, error) { return j.record, j.fail }
func (j *fakeJournal) Came(d names.Digest) error               { return j.write("came " + d.String()) }
func (j *fakeJournal) Good(d names.Digest) error               { return j.write("good " + d.String()) }
func (j *fakeJournal) Ended(d names.Digest, why string) error  { return j.write("ended: " + why) }
func (j *fakeJournal) Lasted(d names.Digest) error             { return j.write("lasted " + d.String()) }
func (j *fakeJournal) Failed(names.Digest) bool                { return j.failed }
func (j *fakeJournal) Open() ([]trial.Record, error)           { return nil, j.fail }
func (j *fakeJournal) Reset() error                            { j.events.add("reset"); return nil }

// fakeKernel has a kernel to jump into. What ends a machine ends the goroutine.
type fakeKernel struct {
	recorder
	events *events
	ended  chan struct{}
}

func (k *fakeKernel) end(how string) error {
	k.events.add(how)
	close(k.ended)
	runtime.Goexit()
	return nil
}

func (k *fakeKernel) Jump() error    { return k.end("jump") }
func (k *fakeKernel) Restart() error { return k.end("restart") }

// testNode is a node without a machine.
type testNode struct {
	*node
	events  *events
	time    *fakeClock
	journal *fakeJournal
	kernel  *fakeKernel
}

func newTestNode(t *testing.T) *testNode {
	t.Helper()
	e := &events{}
	n := &testNode{
		node: newNode(linux.Console{}), events: e, time: &fakeClock{},
		journal: &fakeJournal{events: e, writes: make(chan struct{}, 1)},
		kernel:  &fakeKernel{events: e, ended: make(chan struct{})},
	}
	n.report.line = func(linux.Priority, string, string) {}
	n.trials.open = func() journal { return n.journal }
	n.trials.endGuard = func() (bool, error) { e.add("end guard"); return true, nil }
	n.shutdown.kernel = n.kernel
	n.shutdown.stopServices = func() { e.add("stop services") }
	n.shutdown.flush = func() { e.add("flush"); n.trials.lasted() }
	if err := n.kernel.Load(linux.Part{}, linux.Part{}, ""); err != nil {
		t.Fatal(err)
	}
	return n
}

func ask(n *node, r control.Request) (answer control.Response, jumps bool) {
	answer, after := n.handle(r)
	return answer, after != nil
}

func TestKexecRequest(t *testing.T) {
	d := names.Sum([]byte("x"))
	n := newTestNode(t)
	if err := n.kernel.Unload(); err != nil {
		t.Fatal(err)
	}
	if a, jumps := ask(n.node, control.Request{Do: control.Kexec, Trial: d.String()}); a.OK || jumps || !strings.Contains(a.Error, "no kernel is loaded") {
		t.Errorf("without a kernel: %+v, jumps %v", a, jumps)
	}
	for _, bad := range []string{"", "x", "sha256:00"} {
		if a, jumps := ask(newTestNode(t).node, control.Request{Do: control.Kexec, Trial: bad}); a.OK || jumps {
			t.Errorf("trial %q: %+v", bad, a)
		}
	}
	// Tried twice by other boots: no third time, for any program.
	dir := t.TempDir()
	up := func() time.Duration { return time.Minute }
	for _, b := range []string{"one", "two"} {
		if err := trial.InFolder(dir, trial.Boot{ID: b, Up: up}).Begin(d, 1, trial.Expect{}); err != nil {
			t.Fatal(err)
		}
	}
	for where, want := range map[string]string{dir: "failed_before", dir + "/gone": ""} { // not counted, not jumped
		n = newTestNode(t)
		n.trials.open = func() journal { return trial.InFolder(where, trial.Boot{ID: "three", Up: up}) }
		if a, jumps := ask(n.node, control.Request{Do: control.Kexec, Trial: d.String()}); a.OK || jumps || a.Code != want {
			t.Errorf("a journal in %s: %+v, jumps %v", where, a, jumps)
		}
		n.events.want(t)
	}
}

// TestCountedBeforeTheJump: the try is in the journal before anything is stopped,
// and the jump is the last that happens.
func TestCountedBeforeTheJump(t *testing.T) {
	n := newTestNode(t)
	answer, after := n.handle(control.Request{Do: control.Kexec, Trial: onTrial.String()})
	if !answer.OK || after == nil {
		t.Fatalf("%+v", answer)
	}
	n.events.want(t, "begin "+onTrial.String())
	go after()
	<-n.kernel.ended
	n.events.want(t, "begin "+onTrial.String(), "stop services", "flush", "jump")
}

// TestNoJumpUncounted: a try that cannot be written down, or that is one too
// many, is refused.
func TestNoJumpUncounted(t *testing.T) {
	n := newTestNode(t)
	n.journal.fail = errors.New("disk full")
	if a, jumps := ask(n.node, control.Request{Do: control.Kexec, Trial: onTrial.String()}); a.OK || jumps || !strings.Contains(a.Error, "disk full") {
		t.Errorf("%+v, jumps %v", a, jumps)
	}
	n.journal.fail, n.journal.failed = nil, true
	if a, jumps := ask(n.node, control.Request{Do: control.Kexec, Trial: onTrial.String()}); a.OK || jumps || a.Code != "failed_before" {
		t.Errorf("%+v, jumps %v", a, jumps)
	}
	n.events.want(t, "begin "+onTrial.String())
}

// TestNoLockOverAWrite: while the disk takes its time, for the journal and for
// boot.json, no lock is held, questions are answered, and the machine can be
// ended, which does not wait for ever either.
func TestNoLockOverAWrite(t *testing.T) {
	n := newTestNode(t)
	n.journal.slow = make(chan struct{})
	jumped := make(chan struct{})
	go func() {
		defer close(jumped)
		ask(n.node, control.Request{Do: control.Kexec, Trial: onTrial.String()})
	}()
	<-n.journal.writes
	saving, saved := make(chan struct{}), make(chan struct{})
	published := make(chan error, 1)
	go func() {
		published <- n.report.publish(func([]string, []statefile.Step) error { close(saving); <-saved; return nil })
	}()
	<-saving
	for name, mu := range map[string]*sync.Mutex{"report": &n.report.mu, "services": &n.services.mu} {
		if !mu.TryLock() {
			t.Fatalf("the lock of %s is held over a write", name)
		}
		mu.Unlock()
	}
	if a, _ := ask(n.node, control.Request{Do: control.Status}); !a.OK {
		t.Errorf("status: %+v", a)
	}
	n.shutdown.clock = n.time
	go n.end(restart)
	<-n.kernel.ended
	// The flush runs beside the shutdown, so it may begin late.
	n.events.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(n.events.list), func(e string) bool { return e == "flush" })
	n.events.mu.Unlock()
	if want := []string{"begin " + onTrial.String(), "stop services", "restart"}; !slices.Equal(rest, want) {
		t.Errorf("it did %q, want %q", rest, want)
	}
	close(n.journal.slow)
	close(saved)
	<-jumped
	if err := <-published; err != nil {
		t.Error(err)
	}
}

func TestUnfinished(t *testing.T) {
	n := newTestNode(t)
	dir, bad := t.TempDir(), names.Sum([]byte("bad"))
	boot := trial.Boot{ID: "one", Up: func() time.Duration { return time.Minute }}
	for _, d := range []names.Digest{bad, onTrial} {
		if err := trial.InFolder(dir, boot).Begin(d, 1, trial.Expect{}); err != nil {
			t.Fatal(err)
		}
	}
	n.trials.open, n.trials.running = func() journal { return trial.InFolder(dir, boot) }, onTrial
	if err := n.trials.unfinished(); err != nil {
		t.Fatal(err)
	}
	want := "release " + bad.String() + " was started and did not come up; it may be tried once more"
	if !slices.Equal(n.report.problems, []string{want}) {
		t.Errorf("problems %q", n.report.problems)
	}
	// A journal that cannot be read begins anew.
	n = newTestNode(t)
	n.journal.fail = errors.New("torn")
	if err := n.trials.unfinished(); err != nil || !slices.Equal(n.report.problems, []string{"torn; it begins anew"}) {
		t.Errorf("%v, problems %q", err, n.report.problems)
	}
	n.events.want(t, "reset")
}

func TestResumeWithoutPause(t *testing.T) {
	if a, _ := ask(newTestNode(t).node, control.Request{Do: control.Resume}); a.OK {
		t.Error("what was not paused was resumed")
	}
}
