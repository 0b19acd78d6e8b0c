package remote_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/tests/nodes"
)

// says is a script that accepts the offer, has its receipt changed before it is
// signed, and answers with the output "the truth".
func says(change func(*nodes.Offered, *receipt.Statement)) func(*nodes.Offered) error {
	return func(o *nodes.Offered) error {
		s := o.Statement("the truth", "")
		change(o, &s)
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", s, envelope))
	}
}

func predicate(change func(*receipt.Predicate)) func(*nodes.Offered) error {
	return says(func(_ *nodes.Offered, s *receipt.Statement) { change(&s.Predicate) })
}

// other is a digest of something else.
var other = strings.Repeat("ab", 32)

// lies are answers of which none is true, and what the requester says of each.
var lies = map[string]struct {
	script func(*nodes.Offered) error
	says   string
}{
	"output": {says(func(o *nodes.Offered, s *receipt.Statement) { *s = o.Statement("another", "") }), "stdout is not what the receipt signs"},
	"errors": {says(func(o *nodes.Offered, s *receipt.Statement) { *s = o.Statement("the truth", "x") }), "stderr is not what"},
	"module": {predicate(func(p *receipt.Predicate) { p.ModuleHash = "sha256:" + other }), "module_hash"},
	"job":    {predicate(func(p *receipt.Predicate) { p.JobID = "sha256:" + other }), "job_id"},
	"args":   {predicate(func(p *receipt.Predicate) { p.ArgsSHA256 = other }), "args_sha256"},
	"env":    {predicate(func(p *receipt.Predicate) { p.EnvSHA256 = other }), "env_sha256"},
	"input":  {predicate(func(p *receipt.Predicate) { p.StdinSHA256 = other }), "stdin_sha256"},
	"nonce":  {predicate(func(p *receipt.Predicate) { p.OfferNonce = scheduler.NewNonce() }), "answers another offer"},
	"limits": {predicate(func(p *receipt.Predicate) { p.Limits.MemoryMB = 1 }), "limits.memory_mb"},
	"run":    {predicate(func(p *receipt.Predicate) { p.RunID = strings.Repeat("1", 32) }), "not of the run that was answered"},
	"end": {func(o *nodes.Offered) error {
		s := o.Statement("the truth", "")
		s.Predicate.Outcome, s.Predicate.ExitCode = job.Trapped, 134
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", o.Statement("the truth", ""), envelope))
	}, "not of the run that was answered"},
	"name": {predicate(func(p *receipt.Predicate) { p.Node.PeerID = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN" }),
		"node.peer_id"},
	"key": {func(o *nodes.Offered) error { // its own key is named, another signs
		s := o.Statement("the truth", "")
		o.ID = nodes.NewID(o.T)
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", s, envelope))
	}, "not signed by the node that was asked"},
	"another's receipt": {func(o *nodes.Offered) error { // signed and named by another
		o.ID = nodes.NewID(o.T)
		s := o.Statement("the truth", "")
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", s, envelope))
	}, "not signed by the node that was asked"},
	"another run": {func(o *nodes.Offered) error {
		if err := o.Accept(); err != nil {
			return err
		}
		o.RunID = strings.Repeat("2", 32)
		s := o.Statement("the truth", "")
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Answer("the truth", "", s, envelope))
	}, "accepted the run"},
	"no receipt": {func(o *nodes.Offered) error {
		return errors.Join(o.Accept(), o.Say(o.Result("result", o.Statement("", "")), nil))
	}, "receipt"},
	"no exit code": {func(o *nodes.Offered) error {
		return errors.Join(o.Accept(), o.Say(nodes.Head{Type: "result"}, nil))
	}, "without an exit code"},
	"another job is accepted": {func(o *nodes.Offered) error {
		return o.Say(nodes.Head{Type: "accepted", RunID: o.RunID, JobID: "sha256:" + other, Module: "held"}, nil)
	}, "accepts the job"},
	"no run id": {func(o *nodes.Offered) error {
		return o.Say(nodes.Head{Type: "accepted", RunID: "\x1b[2J", JobID: o.Spec.ID(), Module: "held"}, nil)
	}, "no run id"},
	"no word of the module": {func(o *nodes.Offered) error {
		return o.Say(nodes.Head{Type: "accepted", RunID: o.RunID, JobID: o.Spec.ID(), Module: "perhaps"}, nil)
	}, "perhaps"},
	"it begins twice": {func(o *nodes.Offered) error {
		return errors.Join(o.Accept(), o.Say(nodes.Head{Type: "running"}, nil), o.Say(nodes.Head{Type: "running"}, nil))
	}, "begins twice"},
	"too much output": {func(o *nodes.Offered) error {
		return errors.Join(o.Accept(), o.Say(nodes.Head{Type: "stdout"}, make([]byte, 900)), o.Say(nodes.Head{Type: "stderr"}, make([]byte, 200)))
	}, "more output than the job may write"},
	"a large header": {func(o *nodes.Offered) error {
		return errors.Join(o.Accept(), raw(o, "\x00\x01\x00\x01"))
	}, "65537 bytes"},
	"a large piece": {func(o *nodes.Offered) error {
		const text = `{"type":"result","exit_code":0,"bytes":1048577}`
		return errors.Join(o.Accept(), raw(o, "\x00\x00\x00"+string(rune(len(text)))+text))
	}, "at most 1048576"},
	"something else": {func(o *nodes.Offered) error { return o.Say(nodes.Head{Type: "commitment"}, nil) }, "where accepted was to come"},
}

func raw(o *nodes.Offered, text string) error {
	_, err := o.Write([]byte(text))
	return err
}

// What a worker says that is not true is never taken for a result, and it is
// named.
func TestLies(t *testing.T) {
	n := nodes.NewNetwork()
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	module := nodes.Says("the truth", false)
	most := int64(1000)
	small := func(j *job.Job) { j.OutputBytes = &most }
	honest := n.Hostile(t, predicate(func(*receipt.Predicate) {}))
	if done, err := client.Run(t.Context(), honest, nodes.Offer(t, module, nil, small), scheduler.Watch{}); err != nil || string(done.Stdout) != "the truth" {
		t.Fatalf("the truth: %v, %q", err, done.Stdout)
	}
	for name, c := range lies {
		liar := n.Hostile(t, c.script)
		done, err := client.Run(t.Context(), liar, nodes.Offer(t, module, nil, small), scheduler.Watch{})
		if remote.FailureOf(err) != remote.Lied || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), liar) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
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
