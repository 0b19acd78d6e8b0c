package dispatch_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/tests/nodes"
)

func replicas(k int) remote.Where { return remote.Where{On: remote.Auto, Replicas: k} }

// checkReceipts holds the receipt of each replica to its peer and the offer.
func checkReceipts(t *testing.T, out remote.Outcome, o scheduler.Offer) {
	t.Helper()
	for _, r := range out.Replicas {
		key, err := identity.ParsePeerID(r.Peer)
		if err != nil {
			t.Fatal(err)
		}
		s, err := receipt.Verify(r.Receipt, receipt.Pin{PeerID: r.Peer, Key: key})
		if err := errors.Join(err, s.CheckJob(o.Spec), s.CheckNonce(o.Nonce)); err != nil {
			t.Errorf("the receipt of %s: %v", r.Peer, err)
		}
	}
}

func agreeing(out remote.Outcome) (peers []string) {
	for _, r := range out.Replicas {
		if r.Agrees {
			peers = append(peers, r.Peer)
		}
	}
	return peers
}

// Several nodes run a job, one that refuses is replaced, and all agree.
func TestReplicasAgree(t *testing.T) {
	n := nodes.NewNetwork()
	unwilling := n.Start(t, "none", nil)
	a, b, c := n.Start(t, "all", nil), n.Start(t, "all", nil), n.Start(t, "all", nil)
	peers := []string{a.Peer(), b.Peer(), c.Peer()}
	d := dispatcher(t, n, append([]string{unwilling.Peer()}, peers...)...)
	o := nodes.Offer(t, nodes.Says("the truth", false), []byte("input"), nil)
	var out bytes.Buffer
	var accepted []string
	ran, failed := 0, 0
	o.Stdout = &out
	done, err := d.Run(t.Context(), replicas(3), o, remote.Progress{
		Accepted: func(peer, _ string) { accepted = append(accepted, peer) },
		Running:  func() { ran++ },
		Failed:   func(a remote.Attempt) error { failed++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != "the truth" || done.Stdout != nil || done.Worker != peers[0] || !slices.Equal(agreeing(done), peers) || done.Liars != nil {
		t.Errorf("%q %+v", out.String(), done)
	}
	checkReceipts(t, done, o)
	slices.Sort(accepted)
	slices.Sort(peers)
	if !slices.Equal(accepted, peers) || ran != 1 || failed != 1 || len(done.Attempts) != 4 || done.Attempts[0].Code != "NotAuthorized" {
		t.Errorf("accepted %q, ran %d, failed %d, %+v", accepted, ran, failed, done.Attempts)
	}
	for _, node := range []*nodes.Node{a, b, c} {
		node.Idle(t)
		if s := node.Server.Stats(); s.Broken+s.Garbled != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// One that found something else is named, and so is one that shows another result
// than it committed to; the majority's counts.
func TestLiarsAmongReplicas(t *testing.T) {
	for name, c := range map[string]struct {
		lie    func(*nodes.Offered) error
		result string
		proofs int // genuine receipts
	}{
		"another output": {func(o *nodes.Offered) error {
			s := o.Statement("a lie", "")
			return o.Commits(s, s)
		}, remote.ResultDone, 3},
		"another exit code": {func(o *nodes.Offered) error {
			s := o.Statement("the truth", "")
			s.Predicate.ExitCode = 1
			return o.Commits(s, s)
		}, remote.ResultDone, 3},
		"another than it committed to": {func(o *nodes.Offered) error {
			return o.Commits(o.Statement("a lie", ""), o.Statement("the truth", ""))
		}, string(remote.Lied), 2},
		"another job": {func(o *nodes.Offered) error {
			s := o.Statement("the truth", "")
			s.Predicate.JobID = "sha256:" + strings.Repeat("ab", 32)
			return o.Commits(s, s)
		}, string(remote.Lied), 2},
		"no salt": {func(o *nodes.Offered) error {
			s := o.Statement("the truth", "")
			envelope, err := o.Receipt(s)
			if err := errors.Join(err, o.Accept(), o.Say(nodes.Head{Type: "commitment", Commitment: o.Commitment(s, "")}, nil)); err != nil {
				return err
			}
			_, _, err = o.Until("reveal")
			return errors.Join(err, o.Say(o.Result("reveal", s), envelope))
		}, string(remote.Lied), 2},
	} {
		t.Run(name, func(t *testing.T) {
			n := nodes.NewNetwork()
			a, b := n.Start(t, "all", nil), n.Start(t, "all", nil)
			liar := n.Hostile(t, c.lie)
			d := dispatcher(t, n, liar, a.Peer(), b.Peer())
			o := nodes.Offer(t, nodes.Says("the truth", false), nil, nil)
			done, err := d.Run(t.Context(), replicas(3), o, remote.Progress{})
			if err != nil {
				t.Fatal(err)
			}
			if string(done.Stdout) != "the truth" || !slices.Equal(done.Liars, []string{liar}) || !slices.Equal(agreeing(done), []string{a.Peer(), b.Peer()}) {
				t.Errorf("%q, liars %q, %q agree", done.Stdout, done.Liars, agreeing(done))
			}
			if len(done.Replicas) != c.proofs || done.Attempts[0].Result != c.result || done.Attempts[0].Peer != liar {
				t.Errorf("%d receipts, %+v", len(done.Replicas), done.Attempts)
			}
			checkReceipts(t, done, o)
		})
	}
}

// None is shown a result, nor asked for its own, before all are bound to theirs.
func TestNobodyShowsItsResultFirst(t *testing.T) {
	n := nodes.NewNetwork()
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	held := make(chan struct{})
	cunning := func(wait <-chan struct{}, done chan<- struct{}) func(*nodes.Offered) error {
		return func(o *nodes.Offered) error {
			s := o.Statement("x", "")
			envelope, err := o.Receipt(s)
			if err := errors.Join(err, o.Accept()); err != nil {
				return err
			}
			if wait != nil {
				<-wait
			}
			note("commits")
			if err := o.Say(nodes.Head{Type: "commitment", Commitment: o.Commitment(s, nodes.Salt)}, nil); err != nil {
				return err
			}
			if done != nil {
				close(done)
			}
			if _, _, err = o.Until("reveal"); err != nil {
				return err
			}
			note("shows")
			shown := o.Result("reveal", s)
			shown.Salt = nodes.Salt
			if err := o.Say(shown, envelope); err != nil {
				return err
			}
			if _, _, err := o.Until("output"); err != nil {
				return nil // the other was asked
			}
			return o.Answer("x", "", s, envelope)
		}
	}
	first, second := n.Hostile(t, cunning(nil, held)), n.Hostile(t, cunning(held, nil))
	done, err := dispatcher(t, n, first, second).Run(t.Context(), replicas(2), nodes.Offer(t, nodes.Says("x", false), nil, nil), remote.Progress{})
	if err != nil || string(done.Stdout) != "x" {
		t.Fatal(err)
	}
	if !slices.Equal(order, []string{"commits", "commits", "shows", "shows"}) {
		t.Errorf("%q", order)
	}
}

// One that shows its output before it is asked does not speak the protocol.
func TestEarlyOutput(t *testing.T) {
	n := nodes.NewNetwork()
	hasty := answers(t, n, func(o *nodes.Offered) error {
		s := o.Statement("the truth", "")
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Answer("the truth", "", s, envelope))
	})
	a, b := n.Start(t, "all", nil), n.Start(t, "all", nil)
	done, err := dispatcher(t, n, hasty, a.Peer(), b.Peer()).Run(t.Context(), replicas(2), nodes.Offer(t, nodes.Says("the truth", false), nil, nil), remote.Progress{})
	if err != nil || !slices.Equal(done.Liars, []string{hasty}) || len(done.Replicas) != 2 {
		t.Errorf("%v, %+v", err, done)
	}
}

// A node that agrees and then sends other outputs, or none, is passed over.
func TestOutputsOfOneThatAgrees(t *testing.T) {
	for name, c := range map[string]struct {
		then  func(*nodes.Offered) error
		liars int
	}{
		"others": {func(o *nodes.Offered) error {
			s := o.Statement("the truth", "")
			envelope, err := o.Receipt(s)
			return errors.Join(err, o.Answer("a lie", "", s, envelope))
		}, 1},
		"none": {func(*nodes.Offered) error { return errors.New("gone") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := nodes.NewNetwork()
			a, b := n.Start(t, "all", nil), n.Start(t, "all", nil)
			liar := n.Hostile(t, func(o *nodes.Offered) error {
				s := o.Statement("the truth", "")
				if err := o.Commits(s, s); err != nil {
					return err
				}
				if _, _, err := o.Until("output"); err != nil {
					return err
				}
				return c.then(o)
			})
			o := nodes.Offer(t, nodes.Says("the truth", false), nil, nil)
			done, err := dispatcher(t, n, liar, a.Peer(), b.Peer()).Run(t.Context(), replicas(3), o, remote.Progress{})
			if err != nil || string(done.Stdout) != "the truth" || done.Worker != a.Peer() || len(done.Liars) != c.liars || len(agreeing(done)) != 3 {
				t.Errorf("%v, %+v", err, done)
			}
		})
	}
}

// Where no result is that of more than half, there is none; where too few nodes
// fit, none is asked.
func TestNoResult(t *testing.T) {
	n := nodes.NewNetwork()
	var liars []string
	for i := range 2 {
		liars = append(liars, n.Hostile(t, func(o *nodes.Offered) error {
			s := o.Statement(fmt.Sprint("lie ", i), "")
			return o.Commits(s, s)
		}))
	}
	honest := n.Start(t, "all", nil)
	peers := append(liars, honest.Peer())
	o := nodes.Offer(t, nodes.Says("the truth", false), nil, nil)
	done, err := dispatcher(t, n, peers...).Run(t.Context(), replicas(3), o, remote.Progress{})
	if !errors.Is(err, remote.ErrNoMajority) || len(done.Attempts) != 3 || done.Stdout != nil {
		t.Errorf("%v, %+v", err, done)
	}
	for _, p := range peers {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%v does not name %s", err, p)
		}
	}
	done, err = dispatcher(t, n, peers...).Run(t.Context(), replicas(4), o, remote.Progress{})
	if !errors.Is(err, remote.ErrNoNode) || !strings.Contains(err.Error(), "4 are needed, and 3 fit") || done.Attempts != nil {
		t.Errorf("too few: %v, %+v", err, done)
	}
	gone := nodes.NewID(t).PeerID()
	done, err = dispatcher(t, n, gone, honest.Peer()).Run(t.Context(), replicas(2), nodes.Offer(t, nodes.Loops(), nil, nil), remote.Progress{})
	if remote.FailureOf(err) != remote.Unreachable || !strings.Contains(err.Error(), "too few are left") || len(done.Attempts) != 2 || done.Attempts[1].Result != string(remote.Stopped) {
		t.Errorf("one is gone: %v, %+v", err, done.Attempts)
	}
	honest.Idle(t) // the one that ran the job has been told
	for _, where := range []remote.Where{replicas(remote.MaxReplicas + 1), {On: honest.Peer(), Replicas: 2}} {
		if _, err := dispatcher(t, n).Run(t.Context(), where, o, remote.Progress{}); err == nil {
			t.Errorf("%+v is accepted", where)
		}
	}
}
