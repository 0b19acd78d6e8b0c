package nodes

import (
	"errors"
	"strings"

	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// says is a script that accepts the offer, has its receipt changed before it is
// signed, and answers with the output "the truth".
func says(change func(*Offered, *receipt.Statement)) func(*Offered) error {
	return func(o *Offered) error {
		s := o.Statement("the truth", "")
		change(o, &s)
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", s, envelope))
	}
}

func predicate(change func(*receipt.Predicate)) func(*Offered) error {
	return says(func(_ *Offered, s *receipt.Statement) { change(&s.Predicate) })
}

// other is a digest of something else.
var other = strings.Repeat("ab", 32)

// Lie is an answer that is not true, to an offer of a module that says "the truth"
// and may write 1000 bytes.
type Lie struct {
	Script func(*Offered) error
	Says   string // what the requester says of it
}

// Truth is the script of an honest worker.
var Truth = predicate(func(*receipt.Predicate) {})

// Lies are answers of which none is true.
var Lies = map[string]Lie{
	"output": {says(func(o *Offered, s *receipt.Statement) { *s = o.Statement("another", "") }), "stdout is not what the receipt signs"},
	"errors": {says(func(o *Offered, s *receipt.Statement) { *s = o.Statement("the truth", "x") }), "stderr is not what"},
	"module": {predicate(func(p *receipt.Predicate) { p.ModuleHash = "sha256:" + other }), "module_hash"},
	"job":    {predicate(func(p *receipt.Predicate) { p.JobID = "sha256:" + other }), "job_id"},
	"args":   {predicate(func(p *receipt.Predicate) { p.ArgsSHA256 = other }), "args_sha256"},
	"env":    {predicate(func(p *receipt.Predicate) { p.EnvSHA256 = other }), "env_sha256"},
	"input":  {predicate(func(p *receipt.Predicate) { p.StdinSHA256 = other }), "stdin_sha256"},
	"nonce":  {predicate(func(p *receipt.Predicate) { p.OfferNonce = scheduler.NewNonce() }), "answers another offer"},
	"limits": {predicate(func(p *receipt.Predicate) { p.Limits.MemoryMB = 1 }), "limits.memory_mb"},
	"run":    {predicate(func(p *receipt.Predicate) { p.RunID = strings.Repeat("1", 32) }), "not of the run that was answered"},
	"end": {func(o *Offered) error {
		s := o.Statement("the truth", "")
		s.Predicate.Outcome, s.Predicate.ExitCode = job.Trapped, 134
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", o.Statement("the truth", ""), envelope))
	}, "not of the run that was answered"},
	"name": {predicate(func(p *receipt.Predicate) { p.Node.PeerID = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN" }),
		"node.peer_id"},
	"key": {func(o *Offered) error { // its own key is named, another signs
		s := o.Statement("the truth", "")
		o.ID = NewID(o.T)
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", s, envelope))
	}, "not signed by the node that was asked"},
	"another's receipt": {func(o *Offered) error { // signed and named by another
		o.ID = NewID(o.T)
		s := o.Statement("the truth", "")
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Accept(), o.Answer("the truth", "", s, envelope))
	}, "not signed by the node that was asked"},
	"another run": {func(o *Offered) error {
		if err := o.Accept(); err != nil {
			return err
		}
		o.RunID = strings.Repeat("2", 32)
		s := o.Statement("the truth", "")
		envelope, err := o.Receipt(s)
		return errors.Join(err, o.Answer("the truth", "", s, envelope))
	}, "accepted the run"},
	"no receipt": {func(o *Offered) error {
		return errors.Join(o.Accept(), o.Say(o.Result("result", o.Statement("", "")), nil))
	}, "receipt"},
	"no exit code": {func(o *Offered) error {
		return errors.Join(o.Accept(), o.Say(Head{Type: "result"}, nil))
	}, "without an exit code"},
	"another job is accepted": {func(o *Offered) error {
		return o.Say(Head{Type: "accepted", RunID: o.RunID, JobID: "sha256:" + other, Module: "held"}, nil)
	}, "accepts the job"},
	"no run id": {func(o *Offered) error {
		return o.Say(Head{Type: "accepted", RunID: "\x1b[2J", JobID: o.Spec.ID(), Module: "held"}, nil)
	}, "no run id"},
	"no word of the module": {func(o *Offered) error {
		return o.Say(Head{Type: "accepted", RunID: o.RunID, JobID: o.Spec.ID(), Module: "perhaps"}, nil)
	}, "perhaps"},
	"it begins twice": {func(o *Offered) error {
		return errors.Join(o.Accept(), o.Say(Head{Type: "running"}, nil), o.Say(Head{Type: "running"}, nil))
	}, "begins twice"},
	"too much output": {func(o *Offered) error {
		return errors.Join(o.Accept(), o.Say(Head{Type: "stdout"}, make([]byte, 900)), o.Say(Head{Type: "stderr"}, make([]byte, 200)))
	}, "more output than the job may write"},
	"a large header": {func(o *Offered) error {
		return errors.Join(o.Accept(), raw(o, "\x00\x01\x00\x01"))
	}, "65537 bytes"},
	"a large piece": {func(o *Offered) error {
		const text = `{"type":"result","exit_code":0,"bytes":1048577}`
		return errors.Join(o.Accept(), raw(o, "\x00\x00\x00"+string(rune(len(text)))+text))
	}, "at most 1048576"},
	"something else": {func(o *Offered) error { return o.Say(Head{Type: "commitment"}, nil) }, "where accepted was to come"},
}

func raw(o *Offered, text string) error {
	_, err := o.Write([]byte(text))
	return err
}
