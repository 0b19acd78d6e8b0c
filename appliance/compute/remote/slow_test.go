package remote_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/tests/await"
	"phase/tests/nodes"
)

// impatient are times for tests in which somebody is to lose patience.
var impatient = remote.Times{
	First: 200 * time.Millisecond, Piece: 200 * time.Millisecond, Silence: 200 * time.Millisecond, Beat: 50 * time.Millisecond,
	Sending: 500 * time.Millisecond, Grace: 100 * time.Millisecond, Input: 100 * time.Millisecond, Reveal: 200 * time.Millisecond,
	Begin: 300 * time.Millisecond, Overtime: 300 * time.Millisecond, Recover: time.Millisecond,
}

func withTimes(times remote.Times) func(*remote.Config, *scheduler.Limits) {
	return func(c *remote.Config, _ *scheduler.Limits) { c.Times = times }
}

// offered sends an offer by hand, and its module once it is accepted.
func offered(c nodes.Conn, o scheduler.Offer, change func(*nodes.Head)) error {
	h := head(o)
	if change != nil {
		change(&h)
	}
	if err := c.Say(h, o.Spec.File()); err != nil {
		return err
	}
	h, _, err := c.Hear()
	if err == nil && h.Type != "accepted" {
		err = errors.New(h.Type + ": " + h.Detail)
	}
	if err == nil && h.Module == "needed" {
		err = c.Say(nodes.Head{Type: "module"}, o.Module.Bytes())
	}
	return err
}

// Whoever opens a stream and then says nothing, or not enough, or reads nothing,
// holds nothing for long.
func TestHalfOpenStreams(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", withTimes(impatient))
	s := newStranger(t, n, worker)
	o := func(module []byte) scheduler.Offer { return nodes.Offer(t, module, nil, nil) }
	little, large := nodes.Says("x", false), int64(1<<20)
	ended := uint64(0)
	for name, say := range map[string]func(nodes.Conn) error{
		"silent": func(nodes.Conn) error { return nil },
		"half a header": func(c nodes.Conn) error {
			_, err := c.Write([]byte("\x00\x00\x01\x00{"))
			return err
		},
		"half a job file": func(c nodes.Conn) error {
			o := o(little)
			h := head(o)
			h.Bytes = int64(len(o.Spec.File())) + 1
			return c.Send(h, o.Spec.File())
		},
		"no module":     func(c nodes.Conn) error { o := o(nodes.Says("not held", false)); return c.Say(head(o), o.Spec.File()) },
		"no input":      func(c nodes.Conn) error { return offered(c, o(little), func(h *nodes.Head) { h.StdinSize = &large }) },
		"reads nothing": func(c nodes.Conn) error { return offered(c, o(nodes.Says(strings.Repeat("x", 1<<15), true)), nil) },
		"streams nothing": func(c nodes.Conn) error {
			return offered(c, o(nodes.Loops()), func(h *nodes.Head) { h.StdinSize = nil })
		},
	} {
		if err := say(s.open()); err != nil {
			t.Fatal(name, err)
		}
		ended++
		if err := await.Until(t.Context(), func() bool { s := worker.Server.Stats(); return s.Broken+s.Failed == ended }); err != nil {
			t.Fatalf("%s: %v, %+v", name, err, worker.Server.Stats())
		}
		worker.Idle(t)
	}
}

// A run whose input breaks off ends at once, and so does one whose result nobody
// asks to see, though the requester is there.
func TestWhatNeverComes(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", withTimes(remote.Times{Grace: time.Hour, Silence: time.Hour, Reveal: 100 * time.Millisecond}))
	s := newStranger(t, n, worker)
	conn := s.open()
	if err := offered(conn, nodes.Offer(t, nodes.Loops(), nil, nil), func(h *nodes.Head) { h.StdinSize = nil }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Until("running"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Reset()
	worker.Idle(t)
	conn = s.open()
	if err := offered(conn, nodes.Offer(t, nodes.Says("x", false), nil, nil), func(h *nodes.Head) { h.Commit = true }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Until("commitment"); err != nil {
		t.Fatal(err)
	}
	worker.Idle(t)
}

// A module that comes steadily but takes too long is refused.
func TestATrickle(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", withTimes(remote.Times{Sending: 500 * time.Millisecond}))
	c := newStranger(t, n, worker).open()
	o := nodes.Offer(t, nodes.Says(strings.Repeat("x", 1000), false), nil, nil)
	if err := c.Say(head(o), o.Spec.File()); err != nil {
		t.Fatal(err)
	}
	if h, _, err := c.Hear(); err != nil || h.Module != "needed" {
		t.Fatal(h, err)
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		alive := time.NewTicker(50 * time.Millisecond) // never silent for too long
		defer alive.Stop()
		for {
			select {
			case <-alive.C:
				if c.Say(nodes.Head{Type: "alive"}, nil) != nil {
					return
				}
			case <-over:
				return
			}
		}
	})
	h, _, err := c.Hear()
	if close(over); err != nil || h.Type != "rejected" || !strings.Contains(h.Detail, "took longer than 500ms") {
		t.Errorf("%+v, %v", h, err)
	}
	all.Wait()
	worker.Idle(t)
}

// A requester waits for nothing for ever, though the worker says that it is there.
func TestAWorkerThatNeverEnds(t *testing.T) {
	n := nodes.NewNetwork()
	times := impatient
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: times}
	alive := func(o *nodes.Offered) error {
		for {
			if err := o.Say(nodes.Head{Type: "alive"}, nil); err != nil {
				return err
			}
			select {
			case <-o.T.Context().Done():
				return o.T.Context().Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	for name, c := range map[string]struct {
		script func(*nodes.Offered) error
		says   string
	}{
		"silent":        {func(o *nodes.Offered) error { <-o.T.Context().Done(); return nil }, "waiting for the answer to the offer"},
		"never begins":  {func(o *nodes.Offered) error { return errors.Join(o.Accept(), alive(o)) }, "waiting for the job to begin: it took too long"},
		"stops to talk": {func(o *nodes.Offered) error { err := o.Accept(); <-o.T.Context().Done(); return err }, "nothing came for 200ms"},
	} {
		_, err := client.Run(t.Context(), n.Hostile(t, c.script), nodes.Offer(t, nodes.Says("", false), nil, nil), scheduler.Watch{})
		if remote.FailureOf(err) != remote.Died || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := client.Run(t.Context(), n.Hostile(t, func(h *nodes.Offered) error {
		return errors.Join(h.Accept(), h.Say(nodes.Head{Type: "running"}, nil), alive(h))
	}), nodes.Offer(t, nodes.Says("", false), nil, func(j *job.Job) { j.TimeoutSeconds = 1 }), scheduler.Watch{})
	if remote.FailureOf(err) != remote.Died || !strings.Contains(err.Error(), "waiting for the job to end: it took too long") {
		t.Errorf("never ends: %v", err)
	}
}

// A flood of offers from one that is not accepted, or of one that is, leaves room
// for others and is counted.
func TestFloods(t *testing.T) {
	n := nodes.NewNetwork()
	friend, foe := nodes.NewID(t).PeerID(), nodes.NewID(t).PeerID()
	worker := n.Start(t, friend+","+nodes.NewID(t).PeerID(), withTimes(remote.Times{First: time.Second, Grace: 200 * time.Millisecond}))
	flood := stranger{t, n, foe, worker}
	o := nodes.Offer(t, nodes.Says("hello", false), nil, nil)
	const many = 300
	for range many {
		c := flood.open()
		_ = c.Say(head(o), o.Spec.File()) // it may have been reset already
	}
	client := &remote.Client{Dial: n.Dial(friend), Times: nodes.Quick}
	if done, err := client.Run(t.Context(), worker.Peer(), o, scheduler.Watch{}); err != nil || string(done.Stdout) != "hello" {
		t.Errorf("during the flood: %v", err)
	}
	if err := await.Until(t.Context(), func() bool {
		s := worker.Server.Stats()
		return s.Rejected[scheduler.NotAuthorized]+s.Dropped == many
	}); err != nil {
		t.Errorf("%+v", worker.Server.Stats())
	}
	if worker.Server.Stats().Dropped == 0 {
		t.Errorf("all were answered at once: %+v", worker.Server.Stats())
	}
	worker.Idle(t)
}

// What peers send and what a run writes that is kept takes no more memory than
// there is for all of them.
func TestMemoryIsBounded(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", func(_ *remote.Config, l *scheduler.Limits) { l.HeldBytes = 1 << 20 })
	first := newStranger(t, n, worker)
	conn, big := first.open(), int64(32<<20)
	o := nodes.Offer(t, nodes.Says("x", false), nil, nil)
	if err := offered(conn, o, func(h *nodes.Head) { h.StdinSize = &big }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Say(nodes.Head{Type: "input"}, make([]byte, 1<<20-1000)); err != nil {
		t.Fatal(err)
	}
	if err := await.Until(t.Context(), func() bool { return worker.Runs.Load().HeldUsed > 1<<20-2000 }); err != nil {
		t.Fatal(err)
	}
	full := func(what string, h nodes.Head, err error) {
		t.Helper()
		if err != nil || h.Reason != "QueueFull" || !strings.Contains(h.Detail, "1048576 are allowed") {
			t.Errorf("%s: %+v, %v", what, h, err)
		}
	}
	text := strings.Repeat("x", 5000)
	h, err := newStranger(t, n, worker).send(nodes.Offer(t, nodes.Says(text, false), nil, nil), nil)
	full("a module", h, err)
	h, err = newStranger(t, n, worker).send(nodes.Offer(t, nodes.Says("x", false), nil, func(j *job.Job) { j.Args = []string{text} }), nil)
	full("a job file", h, err)
	h, err = newStranger(t, n, worker).send(nodes.Offer(t, nodes.Says("again", true), nil, nil), func(h *nodes.Head) { h.Commit = true })
	full("output that is kept", h, err)
	_ = conn.Reset()
	worker.Idle(t)
	if h, err := newStranger(t, n, worker).send(nodes.Offer(t, nodes.Says(text, false), nil, nil), nil); err != nil || h.Type != "result" {
		t.Errorf("when it has gone: %+v, %v", h, err)
	}
}
