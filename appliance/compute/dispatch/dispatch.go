// Package dispatch has jobs run on other nodes: on one that is named, on the one
// that fits best and on another when that one fails, or on several at once, whose
// answers are compared. compute/remote talks to each of them.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/wasm"
	"phase/appliance/network/capability"
)

// Find looks for nodes that may fit, and sends each with its verified record as
// it is found. It closes the channel when there are no more or ctx has ended,
// which is when the caller has enough. See Ask for one that has only peer ids.
type Find func(ctx context.Context, want capability.Requirement) <-chan capability.Candidate

// Dispatcher has jobs run on other nodes. It is safe for concurrent use.
type Dispatcher struct {
	Client *remote.Client
	Find   Find
	Self   string // the peer id of this node, which is never picked
	Times  Times

	mu     sync.Mutex
	counts map[string]uint64
}

// Counts returns how many attempts of all jobs came to what (remote.Attempt.Result),
// and under "liar" how many nodes were named as such.
func (d *Dispatcher) Counts() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.counts)
}

// count takes what came of a job into the counts, and names who did not tell the
// truth.
func (d *Dispatcher) count(out remote.Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[string]uint64{}
	}
	for _, a := range out.Attempts {
		d.counts[a.Result]++
		if a.Result == string(remote.Lied) {
			slog.Warn("a node does not tell the truth", "peer", a.Peer, "reason", a.Reason)
		}
	}
	d.counts["liar"] += uint64(len(out.Liars))
}

// Requirement is what a job needs of a node.
func Requirement(spec job.Spec) capability.Requirement {
	want := spec.Job()
	name, _ := wasm.Runtime()
	return capability.Requirement{
		Cores: want.CPUCores, MemoryMB: want.MemoryMB, TimeoutSeconds: want.TimeoutSeconds, OutputBytes: spec.OutputBytes(),
		Runtime: name, Profile: wasm.Profile,
	}
}

// Run has an offer run where that says, and returns what came of it, verified.
// All nodes are sent the same nonce. Ending ctx ends the job wherever it runs.
//
// Output goes to the offer's Stdout and Stderr as it comes, where they are not
// nil, and into the outcome where they are. What an attempt wrote that then came
// to nothing does not count: see remote.Progress.Failed. The output of replicas
// comes when they have been compared. Only a named peer can be sent an offer
// with an Input, for it can be read once.
//
// The error of a named peer is a *remote.PeerError; with remote.Auto it wraps
// those of all that were asked, or remote.ErrNoNode where there was none to ask.
// The outcome has the attempts in any case.
func (d *Dispatcher) Run(ctx context.Context, where remote.Where, o scheduler.Offer, p remote.Progress) (remote.Outcome, error) {
	out, err := d.run(ctx, where, o, p)
	d.count(out)
	return out, err
}

func (d *Dispatcher) run(ctx context.Context, where remote.Where, o scheduler.Offer, p remote.Progress) (remote.Outcome, error) {
	switch {
	case where.Replicas > remote.MaxReplicas:
		return remote.Outcome{}, fmt.Errorf("a job on %d nodes: at most %d are allowed", where.Replicas, remote.MaxReplicas)
	case where.On != remote.Auto && where.Replicas > 1:
		return remote.Outcome{}, fmt.Errorf("a job on %d nodes cannot be on one that is named", where.Replicas)
	case where.On != remote.Auto:
		return d.named(ctx, where.On, o, p)
	case o.Input != nil:
		return remote.Outcome{}, errors.New("the input of a job that another node may have to run again cannot be streamed")
	case where.Replicas > 1:
		return d.replicas(ctx, where.Replicas, o, p)
	}
	return d.auto(ctx, o, p)
}
