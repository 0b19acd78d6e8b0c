package scheduler

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"unicode/utf8"

	"phase/appliance/base/identity"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/wasm"
	"phase/appliance/compute/worker"
)

// Reason is why a worker rejects an offer.
type Reason string

// All reasons.
const (
	InsufficientResources Reason = "InsufficientResources"
	ArchMismatch          Reason = "ArchMismatch"
	RuntimeNotSupported   Reason = "RuntimeNotSupported"
	QueueFull             Reason = "QueueFull"
	NotAuthorized         Reason = "NotAuthorized"
	InvalidRequest        Reason = "InvalidRequest"
	// ModuleNeeded is that of a job sent by digest alone whose module this node
	// does not hold for its requester, who then sends it.
	ModuleNeeded Reason = "ModuleNeeded"
)

// Rejection is the error of an offer that was not run. Detail names the figure
// or the field that was wrong.
type Rejection struct {
	Reason Reason
	Detail string
}

func (r *Rejection) Error() string { return fmt.Sprintf("%s: %s", r.Reason, r.Detail) }

func reject(reason Reason, format string, args ...any) error {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Needed is the rejection of a job by digest alone whose module has to be sent.
// It is the same whether or not another requester has sent that module.
func Needed(s job.Spec) error {
	return reject(ModuleNeeded, "module_hash: %s is not held here for you; send the module with the job", s.Job().ModuleHash)
}

// Offer is a job with what it needs. Nonce is the offer_nonce, base64 of 16
// bytes that the requester chose.
type Offer struct {
	Spec job.Spec
	// Module is the job's; nil where the scheduler is to find it by the digest
	// that the job names, among those that the same requester sent before.
	Module *modulecache.Module
	Stdin  []byte
	Nonce  string
	// RunID names the run (NewRunID); a new one is made when it is empty.
	RunID string
	// Requester is who asks (see Task).
	Requester string
	// Input, when there is one, is read instead of Stdin, as the module reads.
	// It cannot be held against a stdin_hash before the run, so it is refused
	// for a job that names one.
	Input Input
	// Stdout and Stderr, when there, get what the module writes as it comes;
	// Done then holds none of it.
	Stdout, Stderr io.Writer
}

// Input is a job's standard input that is still being sent.
type Input interface {
	io.Reader
	// Sum ends the input and returns the SHA-256 of all of it that counts, which
	// is at least what was read. It is called when the module has ended.
	Sum() [sha256.Size]byte
}

// Done is a job that ran.
type Done struct {
	Result
	JobID, RunID   string
	Stdout, Stderr []byte
	Input          [sha256.Size]byte // SHA-256 of what went in of the offer's Input, where it has one
	Receipt        []byte            // the envelope
}

// Runner runs offers and signs what they did. It has no queue and no history:
// those are the Scheduler's.
type Runner struct {
	// Pool is where jobs run; nil gives each job processes of its own. It is
	// set before the first Execute, and closed by the code that made it.
	Pool *Pool

	identity identity.Identity
}

// NewRunner returns a runner that signs as id.
func NewRunner(id identity.Identity) *Runner { return &Runner{identity: id} }

// NewNonce returns an offer_nonce.
func NewNonce() string {
	nonce := make([]byte, receipt.NonceBytes)
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return base64.StdEncoding.EncodeToString(nonce)
}

// Check judges an offer by itself, on whatever node it is to run: its nonce has
// the form it must have, and module and input are there and those the job names.
// The error is a *Rejection.
func (o Offer) Check() error {
	if err := receipt.CheckNonce(o.Nonce); err != nil {
		return reject(InvalidRequest, "%v", err)
	}
	if o.Input != nil && o.Spec.Job().StdinHash != "" {
		return reject(InvalidRequest, "stdin_hash: the input of a job that names its digest must be there before it runs")
	}
	if o.Module == nil {
		return Needed(o.Spec)
	}
	if err := o.Spec.AcceptHash(o.Module.Digest().String(), o.Stdin); err != nil {
		return reject(InvalidRequest, "%v", err)
	}
	return nil
}

// check is Check for an offer that is to run here: its module is one, and this
// machine has the cores for it.
func (o Offer) check() error {
	if err := o.Check(); err != nil {
		return err
	}
	switch _, err := o.Module.Inspect(); {
	case errors.Is(err, wasm.ErrComponent):
		return reject(RuntimeNotSupported, "%v", err)
	case err != nil:
		return reject(InvalidRequest, "%v", err)
	}
	return o.checkCores()
}

func (o Offer) checkCores() error {
	if asked, has := o.Spec.Job().CPUCores, runtime.NumCPU(); asked > has {
		return reject(InsufficientResources, "cpu_cores: %d asked for, this node has %d", asked, has)
	}
	return nil
}

// Execute checks an offer, runs it and returns what it did, with the receipt.
// The error is a *Rejection when the offer was at fault.
func (r *Runner) Execute(ctx context.Context, o Offer) (Done, error) {
	if err := o.check(); err != nil {
		return Done{}, err
	}
	return r.run(ctx, o)
}

// ProgramName is what a job's module finds as its own name, argument 0: the
// same on every node, as the job file does not set it.
const ProgramName = "module.wasm"

// run runs an offer that was checked.
func (r *Runner) run(ctx context.Context, o Offer) (Done, error) {
	want := o.Spec.Job()
	done, err := r.Attest(ctx, o, Task{
		Requester: o.Requester, Module: o.Module, Args: append([]string{ProgramName}, want.Args...), Env: Environ(want.Env),
		MemoryMB: want.MemoryMB, Timeout: o.Spec.Timeout(), OutputBytes: o.Spec.OutputBytes(), Cores: want.CPUCores,
	})
	if errors.Is(err, worker.ErrRefused) {
		return Done{}, reject(InvalidRequest, "%v", err)
	}
	return done, err
}

// Attest runs a task with the streams of an offer and signs what it did as the
// offer's job, under the limits that the task had.
func (r *Runner) Attest(ctx context.Context, o Offer, t Task) (Done, error) {
	stdout, stderr := newOutput(o.Stdout), newOutput(o.Stderr)
	input := o.Input
	if input == nil {
		input = whole{bytes.NewReader(o.Stdin), o.Stdin}
	}
	t.Stdin, t.Stdout, t.Stderr = input, stdout, stderr
	run := Run
	if r.Pool != nil {
		run = r.Pool.Run
	}
	result, err := run(ctx, t)
	if err != nil {
		return Done{}, err
	}
	done := Done{Result: result, JobID: o.Spec.ID(), RunID: o.RunID, Stdout: stdout.kept.Bytes(), Stderr: stderr.kept.Bytes()}
	if done.RunID == "" {
		done.RunID = NewRunID()
	}
	done.Input = input.Sum()
	limits := receipt.Limits{CPUCores: t.Cores, MemoryMB: t.MemoryMB, TimeoutSeconds: t.Timeout.Seconds(), OutputBytes: t.OutputBytes}
	done.Receipt, err = sign(r.identity, done, o, limits, stdout.sum(), stderr.sum())
	return done, err
}

// Environ returns an environment as NAME=VALUE, sorted.
func Environ(env map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// NewRunID returns the name of a run: 16 random bytes in hex.
func NewRunID() string {
	random := make([]byte, 16)
	rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

// sign makes the receipt of a run.
func sign(id identity.Identity, done Done, o Offer, limits receipt.Limits, stdout, stderr [sha256.Size]byte) ([]byte, error) {
	pin := receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}
	name, version := wasm.Runtime()
	statement := receipt.New(receipt.Predicate{
		JobID: o.Spec.ID(), RunID: done.RunID, OfferNonce: o.Nonce, ModuleHash: o.Spec.Job().ModuleHash,
		ArgsSHA256: o.Spec.ArgsSHA256(), EnvSHA256: o.Spec.EnvSHA256(), StdinSHA256: hex.EncodeToString(done.Input[:]),
		ExitCode: done.ExitCode, Outcome: done.Outcome,
		WallTimeMS: done.Finished.Sub(done.Started).Milliseconds(),
		Started:    done.Started.UTC(), Finished: done.Finished.UTC(),
		Runtime: receipt.Runtime{Name: name, Version: version, Profile: wasm.Profile},
		Limits:  limits,
		Node:    receipt.Node{PeerID: pin.PeerID, PublicKey: receipt.EncodeKey(pin.Key)},
	}, stdout[:], stderr[:])
	return receipt.Sign(statement, pin, id.Sign)
}

// Answer is the object that a job's requester gets.
type Answer struct {
	JobID        string         `json:"job_id"`
	RunID        string         `json:"run_id"`
	ExitCode     uint32         `json:"exit_code"`
	Outcome      job.Outcome    `json:"outcome"`
	Stdout       *string        `json:"stdout"` // null when not UTF-8
	StdoutBase64 []byte         `json:"stdout_base64"`
	Stderr       *string        `json:"stderr"`
	StderrBase64 []byte         `json:"stderr_base64"`
	Receipt      strictjson.Raw `json:"receipt"`
}

// Answer returns the object {job_id, run_id, exit_code, outcome, stdout,
// stdout_base64, stderr, stderr_base64, receipt}; stdout and stderr are null
// when they are not UTF-8.
func (d Done) Answer() Answer {
	text := func(b []byte) *string {
		if !utf8.Valid(b) {
			return nil
		}
		s := string(b)
		return &s
	}
	return Answer{d.JobID, d.RunID, d.ExitCode, d.Outcome, text(d.Stdout), d.Stdout, text(d.Stderr), d.Stderr, d.Receipt}
}
