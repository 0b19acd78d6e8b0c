package remote_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/tests/nodes"
)

// What a worker says that is not true is never taken for a result, and it is
// named.
func TestLies(t *testing.T) {
	n := nodes.NewNetwork()
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	module := nodes.Says("the truth", false)
	most := int64(1000)
	small := func(j *job.Job) { j.OutputBytes = &most }
	honest := n.Hostile(t, nodes.Truth)
	if done, err := client.Run(t.Context(), honest, nodes.Offer(t, module, nil, small), scheduler.Watch{}); err != nil || string(done.Stdout) != "the truth" {
		t.Fatalf("the truth: %v, %q", err, done.Stdout)
	}
	for name, c := range nodes.Lies {
		liar := n.Hostile(t, c.Script)
		done, err := client.Run(t.Context(), liar, nodes.Offer(t, module, nil, small), scheduler.Watch{})
		if remote.FailureOf(err) != remote.Lied || !strings.Contains(err.Error(), c.Says) || !strings.Contains(err.Error(), liar) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.Says)
		}
		if done.Receipt != nil || done.Stdout != nil {
			t.Errorf("%s: it is answered all the same", name)
		}
	}
}

// A receipt is good for one offer.
func TestAReplayedReceipt(t *testing.T) {
	n := nodes.NewNetwork()
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	var first []byte
	liar := n.Hostile(t, func(o *nodes.Offered) error {
		s := o.Statement("the truth", "")
		envelope, err := o.Receipt(s)
		if first == nil {
			first = envelope
		}
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", s, first))
	})
	offer := func() scheduler.Offer { return nodes.Offer(t, nodes.Says("the truth", false), nil, nil) }
	if _, err := client.Run(t.Context(), liar, offer(), scheduler.Watch{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Run(t.Context(), liar, offer(), scheduler.Watch{}); remote.FailureOf(err) != remote.Lied || !strings.Contains(err.Error(), "answers another offer") {
		t.Errorf("the same receipt again: %v", err)
	}
}

// Text from a peer is fit for one line of a log.
func TestWhatAPeerSaysIsCleaned(t *testing.T) {
	n := nodes.NewNetwork()
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	for _, script := range []func(*nodes.Offered) error{
		func(o *nodes.Offered) error {
			return o.Say(nodes.Head{Type: "rejected", Reason: "Because\x1b[2J", Detail: "line\nline" + strings.Repeat("x", 2000)}, nil)
		},
		func(o *nodes.Offered) error {
			return errors.Join(o.Accept(), o.Say(nodes.Head{Type: "failed", Detail: "line\nline\x1b[2J" + strings.Repeat("x", 2000)}, nil))
		},
	} {
		_, err := client.Run(t.Context(), n.Hostile(t, script), nodes.Offer(t, nodes.Says("", false), nil, nil), scheduler.Watch{})
		if f := remote.FailureOf(err); f != remote.Refused && f != remote.Died {
			t.Fatal(err)
		}
		if text := err.Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > 1000 {
			t.Errorf("%q", text)
		}
	}
}

// The receipt of a looked-up run is held to the peer and the run.
func TestLookupVerifies(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	o := nodes.Offer(t, nodes.Says("the truth", false), nil, nil)
	done, err := client.Run(t.Context(), worker.Peer(), o, scheduler.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	_, s, err := client.Lookup(t.Context(), worker.Peer(), done.RunID)
	sum := sha256.Sum256([]byte("the truth"))
	if err != nil || s.CheckNonce(o.Nonce) != nil || s.Subject[0].Digest["sha256"] != hex.EncodeToString(sum[:]) {
		t.Errorf("%v, %+v", err, s)
	}
	stranger := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	if _, _, err := stranger.Lookup(t.Context(), worker.Peer(), done.RunID); !errors.Is(err, remote.ErrUnknownRun) {
		t.Errorf("another's run: %v", err)
	}
	liar := nodes.NewID(t).PeerID()
	n.Redirect(liar, worker.Peer())
	if _, _, err := client.Lookup(t.Context(), liar, done.RunID); remote.FailureOf(err) != remote.Lied {
		t.Errorf("another's receipt: %v", err)
	}
}
