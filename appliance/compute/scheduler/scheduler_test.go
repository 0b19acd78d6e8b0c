package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

var (
	least = []byte("\x00asm\x01\x00\x00\x00") // the least module
	// loop never ends.
	loop = []byte("\x00asm\x01\x00\x00\x00" +
		"\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")
)

func node(t *testing.T, l Limits) (*Scheduler, receipt.Pin) {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := history.Open("", history.Limits{Runs: 1000, Bytes: 16 << 20, Nonces: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(NewRunner(id), h, l, time.Now), receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}
}

var wide = Limits{Cores: 1, MemoryMB: 1024, Queue: 10, PerRequester: 10, TimeoutSec: 3600, OutputBytes: 64 << 20, HeldBytes: 1 << 20}

func rejected(err error) Reason {
	var r *Rejection
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func enter(t *testing.T, r *Scheduler, who string) *Place {
	t.Helper()
	p, err := r.Enter(who)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// begun starts a job that does not end by itself.
type begun struct {
	runID string
	end   chan error
	done  Done
}

func begin(t *testing.T, r *Scheduler, o Offer, running bool) *begun {
	t.Helper()
	p := enter(t, r, "somebody")
	b := &begun{end: make(chan error, 1)}
	at := make(chan struct{}, 2)
	w := Watch{Accepted: func(id, _ string) {
		b.runID = id
		if !running {
			at <- struct{}{}
		}
	}}
	if running {
		w.Running = func() { at <- struct{}{} }
	}
	go func() {
		defer p.Leave()
		var err error
		b.done, err = p.Execute(t.Context(), o, w)
		b.end <- err
	}()
	<-at
	return b
}

func TestPlaces(t *testing.T) {
	l := wide
	l.Cores, l.Queue, l.PerRequester = 1, 2, 2
	r, _ := node(t, l)
	a, b := enter(t, r, "a"), enter(t, r, "a")
	if _, err := r.Enter("a"); rejected(err) != QueueFull || !strings.Contains(err.Error(), "2 are allowed") {
		t.Errorf("a third of the same: %v", err)
	}
	c := enter(t, r, "c")
	if _, err := r.Enter("d"); rejected(err) != QueueFull || !strings.Contains(err.Error(), "3 jobs") {
		t.Errorf("a fourth: %v", err)
	}
	a.Leave()
	if err := b.Hold(wide.HeldBytes + 1); err != nil {
		t.Errorf("one that is alone may be large: %v", err)
	}
	if err := c.Hold(1); rejected(err) != QueueFull {
		t.Errorf("bytes beside it: %v", err)
	}
	b.Leave()
	if err := c.Hold(1); err != nil {
		t.Error(err)
	}
	c.Leave()
	if l := r.Load(); l.Running != 0 || l.Waiting != 0 || r.held != 0 || r.places != 0 || len(r.by) != 0 {
		t.Errorf("left are %+v, %d bytes, %d places", l, r.held, r.places)
	}
}

func TestWhatOneJobMayAsk(t *testing.T) {
	l := wide
	l.OutputBytes, l.TimeoutSec, l.MemoryMB = 1000, 10, 100
	r, _ := node(t, l)
	p := enter(t, r, "a")
	defer p.Leave()
	fits := func(j *job.Job) {
		n := int64(1000)
		j.OutputBytes, j.TimeoutSeconds, j.MemoryMB = &n, 10, 100
	}
	for field, change := range map[string]func(*job.Job){
		"cpu_cores: 2 asked for, this node gives at most 1":        func(j *job.Job) { j.CPUCores = 2 },
		"memory_mb: 101 asked for, this node gives at most 100":    func(j *job.Job) { j.MemoryMB = 101 },
		"timeout_seconds: 11 asked for, this node gives at most 1": func(j *job.Job) { j.TimeoutSeconds = 11 },
		"output_bytes: 1001 asked for, this node gives at most":    func(j *job.Job) { *j.OutputBytes++ },
	} {
		o := offer(t, least, func(j *job.Job) { fits(j); change(j) })
		if _, err := p.Execute(t.Context(), o, Watch{}); rejected(err) != InsufficientResources || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := p.Execute(t.Context(), offer(t, least, fits), Watch{}); err != nil {
		t.Errorf("what just fits: %v", err)
	}
}

// Jobs run when there are cores and memory, in the order they came.
func TestRoom(t *testing.T) {
	l := wide
	l.Cores, l.MemoryMB = 2, 10
	r, pin := node(t, l)
	large := begin(t, r, offer(t, loop, func(j *job.Job) { j.MemoryMB = 8 }), true)
	second := begin(t, r, offer(t, least, func(j *job.Job) { j.MemoryMB = 4 }), false)
	third := begin(t, r, offer(t, least, nil), false) // it would fit, and waits its turn
	if got := r.Load(); got.Running != 1 || got.Waiting != 2 {
		t.Errorf("%+v", got)
	}
	if _, err := r.Cancel(large.runID); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*begun{"large": large, "second": second, "third": third} {
		if err := <-b.end; err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s, err := receipt.Verify(b.done.Receipt, pin)
		if err != nil || s.Predicate.RunID != b.runID {
			t.Errorf("%s: %+v, %v", name, s.Predicate, err)
		}
	}
	if large.done.Outcome != job.Cancelled || second.done.Outcome != job.Exited {
		t.Errorf("%s and %s", large.done.Outcome, second.done.Outcome)
	}
	if _, err := r.Cancel(large.runID); !errors.Is(err, ErrOver) {
		t.Errorf("cancelling it again: %v", err)
	}
	if _, err := r.Cancel(NewRunID()); !errors.Is(err, history.ErrUnknown) {
		t.Errorf("cancelling nothing: %v", err)
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	r, _ := node(t, wide)
	first := begin(t, r, offer(t, loop, nil), true)
	waits := begin(t, r, offer(t, least, nil), false)
	if run, err := r.Cancel(waits.runID); err != nil || run.State != history.Queued {
		t.Fatalf("%+v, %v", run, err)
	}
	if err := <-waits.end; !errors.Is(err, ErrCancelled) {
		t.Errorf("%v", err)
	}
	if e, err := r.history.Get(waits.runID); err != nil || e.State != history.Refused || e.Receipt != nil || !strings.Contains(e.Detail, "cancelled") {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := r.Cancel(first.runID); err != nil {
		t.Fatal(err)
	}
	<-first.end
}

func TestANonceRunsOnce(t *testing.T) {
	r, _ := node(t, wide)
	o := offer(t, least, nil)
	var all sync.WaitGroup
	results := make(chan error, 4)
	for range cap(results) {
		all.Go(func() {
			p, err := r.Enter("a")
			if err == nil {
				defer p.Leave()
				_, err = p.Execute(t.Context(), o, Watch{})
			}
			results <- err
		})
	}
	all.Wait()
	close(results)
	ran := 0
	for err := range results {
		switch {
		case err == nil:
			ran++
		case rejected(err) != InvalidRequest || !strings.Contains(err.Error(), "offer_nonce"):
			t.Error(err)
		}
	}
	if ran != 1 {
		t.Errorf("it ran %d times", ran)
	}
}

// Stop lets what runs end in its time, and sends away what waits.
func TestStop(t *testing.T) {
	r, pin := node(t, wide)
	runs := begin(t, r, offer(t, loop, nil), true)
	waits := begin(t, r, offer(t, least, nil), false)
	bound, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		r.Stop(bound)
		close(stopped)
	}()
	if err := <-waits.end; rejected(err) != QueueFull {
		t.Errorf("what waited: %v", err)
	}
	if _, err := r.Enter("a"); rejected(err) != QueueFull || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("a new one: %v", err)
	}
	select {
	case <-stopped:
		t.Error("it stopped while a job ran that had time")
	default:
	}
	cancel()
	if err := <-runs.end; err != nil || runs.done.Outcome != job.Cancelled {
		t.Errorf("what ran: %+v, %v", runs.done, err)
	}
	<-stopped
	if _, err := receipt.Verify(runs.done.Receipt, pin); err != nil {
		t.Error(err)
	}
	if e, err := r.history.Get(runs.runID); err != nil || e.State != history.Done {
		t.Errorf("%+v, %v", e, err)
	}
	r.Stop(t.Context()) // nothing is left to wait for
}

// A receipt that cannot be kept is not handed out.
func TestNothingIsHandedOutUnkept(t *testing.T) {
	r, _ := node(t, wide)
	b := begin(t, r, offer(t, loop, nil), true)
	if err := r.history.Close(); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.active[b.runID].cancel(ErrCancelled)
	r.mu.Unlock()
	if err := <-b.end; err == nil {
		t.Error("a receipt that is kept nowhere was handed out")
	}
}
