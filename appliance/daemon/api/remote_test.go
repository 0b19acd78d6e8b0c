package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
)

// fleet are nodes that run jobs, without a network between them and this one.
// Those at the front fail at first, as their failure says.
type fleet struct {
	t        *testing.T
	nodes    []*scheduler.Runner
	peers    []string
	failures map[string]error
	left     chan string // who was asked to stop
}

func newFleet(t *testing.T, n int) *fleet {
	f := &fleet{t: t, failures: map[string]error{}, left: make(chan string, 1)}
	for range n {
		id, err := identity.Ephemeral(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		f.nodes, f.peers = append(f.nodes, scheduler.NewRunner(id)), append(f.peers, id.PeerID())
	}
	return f
}

// server is a node that has a fleet.
func (f *fleet) server() (*httptest.Server, Config) {
	c, _ := node(f.t)
	c.Remote = f
	h, err := Handler(c, token)
	if err != nil {
		f.t.Fatal(err)
	}
	s := httptest.NewServer(h)
	f.t.Cleanup(s.Close)
	return s, c
}

func (f *fleet) Run(ctx context.Context, where remote.Where, o scheduler.Offer, p remote.Progress) (out remote.Outcome, err error) {
	if where.On == remote.Auto && o.Input != nil {
		f.t.Error("an input that cannot be sent again came with a job that may have to be")
	}
	stdout := o.Stdout
	if where.Replicas > 1 {
		o.Stdout, o.Stderr, p = nil, nil, remote.Progress{}
	}
	for i, peer := range f.peers {
		if where.On != remote.Auto && where.On != peer {
			continue
		}
		var done scheduler.Done
		done, err = f.try(ctx, i, o, p)
		attempt := remote.Attempt{Peer: peer, Result: remote.ResultDone}
		if err != nil {
			attempt.Result, attempt.Reason = string(remote.FailureOf(err)), err.Error()
			var r *scheduler.Rejection
			if errors.As(err, &r) {
				attempt.Code, attempt.Reason = string(r.Reason), r.Detail
			}
		}
		out.Attempts = append(out.Attempts, attempt)
		if err == nil {
			out.Done, out.Worker = done, peer
			out.Replicas = append(out.Replicas, remote.Replica{Peer: peer, Receipt: done.Receipt, Agrees: true})
			if len(out.Replicas) >= where.Replicas {
				break
			}
		} else if p.Failed != nil {
			if err := p.Failed(attempt); err != nil {
				return out, err
			}
		}
	}
	if where.Replicas < 2 {
		out.Replicas = nil
	} else if stdout != nil {
		_, _ = stdout.Write(out.Stdout)
	}
	return out, err
}

// try runs a job on one node, or fails as it is to.
func (f *fleet) try(ctx context.Context, i int, o scheduler.Offer, p remote.Progress) (scheduler.Done, error) {
	if failure := f.failures[f.peers[i]]; failure != nil {
		if o.Stdout != nil {
			_, _ = io.WriteString(o.Stdout, "half of ")
		}
		return scheduler.Done{}, failure
	}
	o.RunID = scheduler.NewRunID()
	if p.Accepted != nil {
		p.Accepted(f.peers[i], o.RunID)
		p.Running()
	}
	done, err := f.nodes[i].Execute(ctx, o)
	if ctx.Err() != nil {
		f.left <- f.peers[i]
	}
	return done, err
}

func died(peer string) error {
	return &remote.PeerError{Peer: peer, Failure: remote.Died, Err: errors.New("the stream broke")}
}

func refused(peer string, reason scheduler.Reason) error {
	return &remote.PeerError{Peer: peer, Failure: remote.Refused, Err: &scheduler.Rejection{Reason: reason, Detail: "so it is"}}
}

// on runs cat with an input on other nodes, by the client.
func on(t *testing.T, s *httptest.Server, where remote.Where, input string, change func(*scheduler.Offer)) (remote.Outcome, scheduler.Offer, error) {
	t.Helper()
	module := catModule(t)
	wanted := job.Default(module)
	wanted.StdinHash = job.Hash([]byte(input))
	spec, err := job.New(wanted)
	if err != nil {
		t.Fatal(err)
	}
	o := scheduler.Offer{Spec: spec, Module: modulecache.NewModule(module), Stdin: []byte(input), Nonce: scheduler.NewNonce()}
	if change != nil {
		change(&o)
	}
	done, err := NewNodeClient(s.URL, token).ExecuteOn(t.Context(), where, o)
	return done, o, err
}

func TestAJobOnAnotherNode(t *testing.T) {
	f := newFleet(t, 3)
	s, c := f.server()
	f.failures[f.peers[0]] = died(f.peers[0])
	for _, k := range []struct {
		where    remote.Where
		attempts int
	}{
		{remote.Where{On: f.peers[2]}, 1},
		{remote.Where{On: remote.Auto, Replicas: 1}, 2}, // what the first had written does not count
		{remote.Where{On: remote.Auto, Replicas: 2}, 3},
	} {
		done, o, err := on(t, s, k.where, "in and out", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := done.Verify(k.where, o); err != nil || string(done.Stdout) != "in and out" {
			t.Errorf("%+v: %q, %v", k.where, done.Stdout, err)
		}
		if len(done.Attempts) != k.attempts || len(done.Replicas) != 0 && len(done.Replicas) != k.where.Replicas {
			t.Errorf("%+v: attempts %+v, %d replicas", k.where, done.Attempts, len(done.Replicas))
		}
		// The daemon cannot pass one node off as another.
		if done.Worker != f.peers[0] && done.Verify(remote.Where{On: f.peers[0]}, o) == nil {
			t.Error("the receipt of another peer than the one asked was taken")
		}
	}
	list, _, err := c.History.List("", 10)
	if err != nil || len(list) != 0 {
		t.Errorf("the history of this node has %d runs of others, %v", len(list), err)
	}
}

// A streamed input goes to a peer that is named while the job runs there.
func TestInputIsStreamedToAPeer(t *testing.T) {
	f := newFleet(t, 1)
	s, _ := f.server()
	where := remote.Where{On: f.peers[0]}
	done, o, err := on(t, s, where, "", func(o *scheduler.Offer) {
		spec, err := job.New(job.Default(o.Module.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		o.Spec, o.Input = spec, typed{strings.NewReader("typed"), t, func() int { return 0 }, 0}
	})
	if err == nil {
		err = done.Verify(where, o)
	}
	if err != nil || string(done.Stdout) != "typed" {
		t.Errorf("%q, %v", done.Stdout, err)
	}
}

// What has been passed on cannot be taken back.
func TestNoRestartBehindOutputThatWasPassedOn(t *testing.T) {
	f := newFleet(t, 2)
	s, _ := f.server()
	f.failures[f.peers[0]] = died(f.peers[0])
	var stdout bytes.Buffer
	_, _, err := on(t, s, remote.Where{On: remote.Auto}, "x", func(o *scheduler.Offer) { o.Stdout = &stdout })
	if err == nil || !strings.Contains(err.Error(), f.peers[0]) || !strings.Contains(err.Error(), "passed on") || stdout.String() != "half of " {
		t.Errorf("%v, after %q", err, stdout.String())
	}
}

// Who leaves ends the job on the other node.
func TestLeavingEndsTheJobElsewhere(t *testing.T) {
	f := newFleet(t, 1)
	s, _ := f.server()
	kind, body := form(t, part{"module", loop}, part{"on", []byte(f.peers[0])})
	ctx, leave := context.WithCancel(t.Context())
	resp := ask(ctx, t, s, kind, body)
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	leave()
	if peer := <-f.left; peer != f.peers[0] {
		t.Error("it was ended on", peer)
	}
}

// Each way in which no node runs the job has a status and a code, and the
// attempts with it.
func TestJobsThatNoOtherNodeRuns(t *testing.T) {
	f := newFleet(t, 1)
	s, c := f.server()
	peer := f.peers[0]
	for _, k := range []struct {
		failure error
		status  int
		code    string
	}{
		{&remote.PeerError{Peer: peer, Failure: remote.Unreachable, Err: errors.New("no address is known")}, 502, peerUnreachable},
		{died(peer), 502, peerDied},
		{&remote.PeerError{Peer: peer, Failure: remote.Lied, Err: errors.New("wrong key")}, 502, peerLied},
		{refused(peer, scheduler.NotAuthorized), 403, "NotAuthorized"},
		{refused(peer, scheduler.QueueFull), 503, "QueueFull"},
		{refused(peer, scheduler.InsufficientResources), 422, "InsufficientResources"},
		{refused(peer, "Mood"), 502, peerRefused},
		{fmt.Errorf("%w: none but %s, which is small", remote.ErrNoNode, peer), 502, noNode},
		{fmt.Errorf("%w: %s says so", remote.ErrNoMajority, peer), 502, noMajority},
	} {
		f.failures[peer] = k.failure
		kind, body := form(t, part{"module", empty}, part{"on", []byte(peer)})
		status, _, text := post(t, s, token, kind, body)
		var p Problem
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if status != k.status || p.Status != status || p.Code != k.code || !strings.Contains(p.Detail, peer) || len(p.Attempts) != 1 || p.Attempts[0].Peer != peer {
			t.Errorf("%v: %d %s", k.failure, status, text)
		}
		done, _, err := on(t, s, remote.Where{On: peer}, "x", nil) // the same in a stream
		if err == nil || !strings.Contains(err.Error(), k.code) || len(done.Attempts) != 1 {
			t.Errorf("%v: in a stream %v, %+v", k.failure, err, done.Attempts)
		}
	}
	for want, parts := range map[string][]part{
		"on: ":                {{"on", []byte("nobody")}},
		"this node itself":    {{"on", []byte(c.PeerID)}},
		"replicas: \"0\"":     {{"replicas", []byte("0")}},
		"replicas: \"17\"":    {{"replicas", []byte("17")}},
		"replicas: they":      {{"replicas", []byte("2")}, {"on", []byte(peer)}},
		"larger than 128":     {{"on", make([]byte, 129)}},
		"offer_nonce":         {{"on", []byte(peer)}, {"offer_nonce", []byte("x")}},
		"unknown or there tw": {{"on", []byte(peer)}, {"on", []byte(peer)}},
	} {
		kind, body := form(t, append(parts, part{"module", empty})...)
		status, _, text := post(t, s, token, kind, body)
		if status < 400 || status >= 500 || !strings.Contains(string(text), strings.ReplaceAll(want, `"`, `\"`)) {
			t.Errorf("%s: %d %s", want, status, text)
		}
	}
}

func TestANodeWithoutANetworkSaysSo(t *testing.T) {
	s, _ := server(t)
	kind, body := form(t, part{"module", empty}, part{"on", []byte("auto")})
	status, header, text := post(t, s, token, kind, body)
	if status != http.StatusNotImplemented || !strings.Contains(string(text), noNetwork) {
		t.Errorf("%d %s", status, text)
	}
	if err := describe(t).answers("POST /v1/jobs", "501", header.Get("Content-Type"), text); err != nil {
		t.Error(err)
	}
}
