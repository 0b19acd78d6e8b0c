package remote_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/frame"
	"phase/tests/nodes"
)

// cutter breaks streams that a requester has opened.
type cutter struct {
	mu   sync.Mutex
	last frame.Stream
}

func (c *cutter) wrap(s frame.Stream) frame.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = s
	return s
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.last.Reset()
}

// A run whose stream breaks goes on as long as somebody asks for it, and its
// receipt is looked up.
func TestABrokenStream(t *testing.T) {
	n, c := nodes.NewNetwork(), &cutter{}
	n.Wrap = c.wrap
	worker := n.Start(t, "all", nil)
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	o := nodes.Offer(t, nodes.Loops(), nil, func(j *job.Job) { j.TimeoutSeconds = 1 }) // longer than it would go on alone
	done, err := client.Run(t.Context(), worker.Peer(), o, scheduler.Watch{Running: c.cut})
	if err != nil || done.Outcome != job.Timeout {
		t.Errorf("%+v, %v", done.Result, err)
	}
	worker.Idle(t)
	if s := worker.Server.Stats(); s.Broken != 1 || s.Accepted != 1 {
		t.Errorf("%+v", s)
	}
}

// A run nobody asks for ends soon.
func TestARunThatIsLeft(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	s := newStranger(t, n, worker)
	conn := s.open()
	o := nodes.Offer(t, nodes.Loops(), nil, nil)
	if err := offered(conn, o, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Until("running"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Reset()
	worker.Idle(t)
	client := &remote.Client{Dial: n.Dial(s.me), Times: nodes.Quick}
	runs, _, err := worker.History.List("", 1)
	if err != nil || len(runs) != 1 {
		t.Fatal(runs, err)
	}
	if _, st, err := client.Lookup(t.Context(), worker.Peer(), runs[0].RunID); err != nil || st.Predicate.Outcome != job.Cancelled {
		t.Errorf("%+v, %v", st.Predicate, err)
	}
}

// Only who sent a job can cancel it, and the receipt says so.
func TestCancel(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	me := nodes.NewID(t).PeerID()
	client := &remote.Client{Dial: n.Dial(me), Times: nodes.Quick}
	stranger := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	var runID string
	done, err := client.Run(t.Context(), worker.Peer(), nodes.Offer(t, nodes.Loops(), nil, nil), scheduler.Watch{
		Accepted: func(id, _ string) { runID = id },
		Running: func() {
			if err := stranger.Cancel(t.Context(), worker.Peer(), runID); !errors.Is(err, remote.ErrUnknownRun) {
				t.Errorf("by a stranger: %v", err)
			}
			if err := client.Cancel(t.Context(), worker.Peer(), runID); err != nil {
				t.Error(err)
			}
		},
	})
	if err != nil || done.Outcome != job.Cancelled || done.RunID != runID {
		t.Errorf("%+v, %v", done, err)
	}
	if err := client.Cancel(t.Context(), worker.Peer(), runID); !errors.Is(err, remote.ErrUnknownRun) {
		t.Errorf("when it is over: %v", err)
	}
	s := newStranger(t, n, worker)
	conn := s.open()
	if err := offered(conn, nodes.Offer(t, nodes.Loops(), nil, nil), nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Until("running"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Say(nodes.Head{Type: "cancel"}, nil); err != nil {
		t.Fatal(err)
	}
	if h, _, err := conn.Until("result"); err != nil || h.Outcome != job.Cancelled {
		t.Errorf("on its own stream: %+v, %v", h, err)
	}
}

// reader fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Where this side fails, the worker is told, and the error is no fault of its.
func TestThisSideFails(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	broken := errors.New("broken pipe")
	for name, o := range map[string]scheduler.Offer{
		"its input": func() scheduler.Offer {
			o := nodes.Offer(t, nodes.Loops(), nil, nil)
			o.Input = newTyped(failing{broken})
			return o
		}(),
		"its output": func() scheduler.Offer {
			o := nodes.Offer(t, nodes.Says("x", true), nil, nil)
			o.Stdout = failing{broken}
			return o
		}(),
	} {
		if _, err := client.Run(t.Context(), worker.Peer(), o, scheduler.Watch{}); remote.FailureOf(err) != remote.Stopped || !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		worker.Idle(t)
	}
}

// stuck is an input that does not come.
type stuck struct{ until <-chan struct{} }

func (s stuck) Read([]byte) (int, error) { <-s.until; return 0, io.EOF }

// A requester that leaves, ends the job, also while it is being sent or waits for
// its input.
func TestLeaving(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", withTimes(remote.Times{Grace: time.Hour})) // so that it has to be told
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	over := make(chan struct{})
	defer close(over)
	waits := nodes.Offer(t, nodes.Loops(), nil, nil)
	waits.Input = newTyped(stuck{over})
	for name, o := range map[string]scheduler.Offer{"a loop": nodes.Offer(t, nodes.Loops(), nil, nil), "its input": waits} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := client.Run(ctx, worker.Peer(), o, scheduler.Watch{Running: cancel})
		if !errors.Is(err, context.Canceled) || remote.FailureOf(err) != remote.Stopped {
			t.Errorf("%s: %v", name, err)
		}
		worker.Idle(t)
	}
}
