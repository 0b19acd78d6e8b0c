package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/compute/dispatch"
	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/capability"
	"phase/tests/nodes"
)

// fits is a node that fits any job in these tests. The smaller its rank, the
// sooner it is picked.
func fits(peerID string, rank int) capability.Candidate {
	return capability.Candidate{Latency: time.Duration(rank), Record: capability.Record{
		PeerID: peerID, Arch: "x86_64", Cores: 4, MemoryMB: 4096, FreeMB: 4096, TimeoutSeconds: 3600, OutputBytes: job.DefaultOutputBytes,
		Runtimes: []capability.Runtime{{Name: "wazero", Profiles: []string{"wasip1"}}}, Load: capability.Load{Queue: 16}, Accept: "all",
	}}
}

// ranked finds these peers, the best first.
func ranked(peers ...string) dispatch.Find {
	return func(ctx context.Context, _ capability.Requirement) <-chan capability.Candidate {
		found := make(chan capability.Candidate, len(peers))
		for i, p := range peers {
			found <- fits(p, i)
		}
		close(found)
		return found
	}
}

// dispatcher is a node without a server that finds these peers.
func dispatcher(t *testing.T, n *nodes.Network, peers ...string) *dispatch.Dispatcher {
	self := nodes.NewID(t).PeerID()
	return &dispatch.Dispatcher{
		Client: &remote.Client{Dial: n.Dial(self), Times: nodes.Quick}, Find: ranked(append([]string{self}, peers...)...), Self: self,
		Times: dispatch.Times{Find: time.Minute, Settle: time.Millisecond, Recover: 50 * time.Millisecond},
	}
}

var auto = remote.Where{On: remote.Auto}

// answers is a node that answers as a script has it, once it has accepted.
func answers(t *testing.T, n *nodes.Network, script func(*nodes.Offered) error) string {
	return n.Hostile(t, func(o *nodes.Offered) error {
		if err := o.Accept(); err != nil {
			return err
		}
		return script(o)
	})
}

// The unreachable, the unwilling, those that die and those that lie are passed
// over, the job runs elsewhere, and what happened is told.
func TestAutoTriesElsewhere(t *testing.T) {
	n := nodes.NewNetwork()
	absent := nodes.NewID(t).PeerID()
	unwilling, honest := n.Start(t, "none", nil), n.Start(t, "all", nil)
	dies := answers(t, n, func(o *nodes.Offered) error {
		return errors.Join(o.Say(nodes.Head{Type: "running"}, nil), o.Say(nodes.Head{Type: "stdout"}, []byte("half of ")), errors.New("gone"))
	})
	lies := answers(t, n, func(o *nodes.Offered) error {
		s := o.Statement("this", "")
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Answer("that", "", s, envelope))
	})
	d := dispatcher(t, n, absent, unwilling.Peer(), dies, lies, honest.Peer(), nodes.NewID(t).PeerID())
	o := nodes.Offer(t, nodes.Says("the truth", false), nil, nil)
	var out bytes.Buffer
	var told []string
	o.Stdout = &out
	done, err := d.Run(t.Context(), auto, o, remote.Progress{
		Accepted: func(peer, runID string) { told = append(told, "accepted by "+peer) },
		Failed: func(a remote.Attempt) error {
			told = append(told, a.Result+" "+a.Peer)
			out.Reset()
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != "the truth" || done.Worker != honest.Peer() || done.Outcome != job.Exited {
		t.Errorf("%q by %s", out.String(), done.Worker)
	}
	var got []string
	for _, a := range done.Attempts {
		got = append(got, a.Result+" "+a.Code+" "+a.Peer)
	}
	if want := []string{"unreachable  " + absent, "refused NotAuthorized " + unwilling.Peer(), "died  " + dies, "lied  " + lies, "done  " + honest.Peer()}; !slices.Equal(got, want) {
		t.Errorf("attempts %q, want %q", got, want)
	}
	if want := []string{"unreachable " + absent, "refused " + unwilling.Peer(), "accepted by " + dies, "died " + dies, "accepted by " + lies, "lied " + lies, "accepted by " + honest.Peer()}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if !slices.Equal(done.Liars, []string{lies}) {
		t.Errorf("liars %q", done.Liars)
	}
	if got, want := d.Counts(), map[string]uint64{"unreachable": 1, "refused": 1, "died": 1, "lied": 1, "done": 1, "liar": 1}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// Output that was passed on to somebody who cannot take it back is not followed
// by that of another run.
func TestNoSecondOutput(t *testing.T) {
	n := nodes.NewNetwork()
	honest := n.Start(t, "all", nil)
	dies := answers(t, n, func(o *nodes.Offered) error {
		return errors.Join(o.Say(nodes.Head{Type: "stdout"}, []byte("half of ")), errors.New("gone"))
	})
	d := dispatcher(t, n, dies, honest.Peer())
	o := nodes.Offer(t, nodes.Says("the truth", false), nil, nil)
	var out bytes.Buffer
	o.Stdout = &out
	done, err := d.Run(t.Context(), auto, o, remote.Progress{})
	if remote.FailureOf(err) != remote.Died || len(done.Attempts) != 1 || out.String() != "half of " {
		t.Errorf("%v, %+v, %q", err, done.Attempts, out.String())
	}
	end := errors.New("enough")
	if _, err := d.Run(t.Context(), auto, o, remote.Progress{Failed: func(remote.Attempt) error { return end }}); !errors.Is(err, end) {
		t.Errorf("ended by who is told: %v", err)
	}
	o.Stdout = nil
	done, err = d.Run(t.Context(), auto, o, remote.Progress{})
	if err != nil || string(done.Stdout) != "the truth" {
		t.Errorf("where the output is kept until the end: %v, %q", err, done.Stdout)
	}
}

// Where nobody can run a job, the reasons of all are told.
func TestNobodyRunsIt(t *testing.T) {
	n := nodes.NewNetwork()
	o := nodes.Offer(t, nodes.Says("", false), nil, func(j *job.Job) { j.MemoryMB = 4000 })
	d := dispatcher(t, n)
	if _, err := d.Run(t.Context(), auto, o, remote.Progress{}); !errors.Is(err, remote.ErrNoNode) || !strings.Contains(err.Error(), "none has answered") {
		t.Errorf("alone: %v", err)
	}
	small := fits(nodes.NewID(t).PeerID(), 0)
	small.MemoryMB, small.FreeMB = 300, 300
	d.Find = func(context.Context, capability.Requirement) <-chan capability.Candidate {
		found := make(chan capability.Candidate, 1)
		found <- small
		close(found)
		return found
	}
	if _, err := d.Run(t.Context(), auto, o, remote.Progress{}); !errors.Is(err, remote.ErrNoNode) ||
		!strings.Contains(err.Error(), small.PeerID+": InsufficientResources: memory_mb: 4000 asked for, it gives at most 300") {
		t.Errorf("a small one: %v", err)
	}
	a, b := n.Start(t, "none", nil), n.Start(t, "none", nil)
	d = dispatcher(t, n, a.Peer(), b.Peer())
	_, err := d.Run(t.Context(), auto, o, remote.Progress{})
	var r *scheduler.Rejection
	if !errors.As(err, &r) || r.Reason != scheduler.NotAuthorized || !strings.Contains(err.Error(), a.Peer()) || !strings.Contains(err.Error(), b.Peer()) {
		t.Errorf("two that run nothing: %v", err)
	}
	d.Find = func(context.Context, capability.Requirement) <-chan capability.Candidate { return nil } // finds nothing, and never says so
	d.Times.Find = time.Millisecond
	if _, err := d.Run(t.Context(), auto, o, remote.Progress{}); !errors.Is(err, remote.ErrNoNode) {
		t.Errorf("a search without an end: %v", err)
	}
	o.Input = input{strings.NewReader("")}
	if _, err := d.Run(t.Context(), auto, o, remote.Progress{}); err == nil || !strings.Contains(err.Error(), "input") {
		t.Errorf("with an input that is read once: %v", err)
	}
}

// input is one that is streamed.
type input struct{ io.Reader }

func (input) Sum() (sum [32]byte) { return sum }

// A job that is given up is ended where it runs, and tried nowhere else.
func TestGivingUp(t *testing.T) {
	n := nodes.NewNetwork()
	a, b := n.Start(t, "all", nil), n.Start(t, "all", nil)
	for _, where := range []remote.Where{auto, {On: a.Peer()}, {On: remote.Auto, Replicas: 2}} {
		d := dispatcher(t, n, a.Peer(), b.Peer())
		ctx, cancel := context.WithCancel(t.Context())
		out, err := d.Run(ctx, where, nodes.Offer(t, nodes.Loops(), nil, nil), remote.Progress{Running: cancel})
		if !errors.Is(err, context.Canceled) || len(out.Attempts) != max(1, where.Replicas) {
			t.Errorf("%+v: %v, %+v", where, err, out.Attempts)
		}
		for _, node := range []*nodes.Node{a, b} {
			node.Idle(t)
		}
	}
}
