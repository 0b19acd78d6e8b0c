package dispatch

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
)

// replica is a node that runs a job which others run too.
type replica struct {
	attempt   remote.Attempt
	committed *remote.Committed // once it is bound to its result
	shown     receipt.Statement
	envelope  []byte // its receipt, once it has shown it
	err       error
}

// fail notes why nothing came of it.
func (r *replica) fail(err error) {
	r.err, r.attempt = err, attempt(r.attempt.Peer, err)
}

// found is what a replica says came of the job. Those with the same agree.
type found struct {
	outcome        job.Outcome
	exitCode       uint32
	stdout, stderr string // SHA-256, hex
}

func (r *replica) found() found {
	p := r.shown.Predicate
	return found{p.Outcome, p.ExitCode, r.shown.Subject[0].Digest["sha256"], r.shown.Subject[1].Digest["sha256"]}
}

// group has a job run by several nodes.
type group struct {
	*search
	client *remote.Client
	offer  scheduler.Offer
	tell   remote.Progress // one at a time
	all    []*replica      // in the order they were asked
	failed int             // of them, but for those that refused
	lost   *replica        // the last that has failed
	stop   context.CancelFunc
}

// replicas has a job run by k nodes. None shows its result before all k are bound
// to theirs; what more than half of them found is the result.
func (d *Dispatcher) replicas(ctx context.Context, k int, o scheduler.Offer, p remote.Progress) (out remote.Outcome, err error) {
	g := &group{search: d.search(ctx, Requirement(o.Spec)), client: d.hasty(), offer: o, tell: inTurn(p)}
	defer g.close()
	if fit, misfits := g.ranked(k); len(fit) < k {
		return out, none(ctx, k, len(fit), misfits)
	}
	if err = g.commit(ctx, k); err == nil {
		g.reveal()
		if err = context.Cause(ctx); err == nil {
			out, err = g.settle(k)
		}
	}
	for _, r := range g.all {
		out.Attempts = append(out.Attempts, r.attempt)
		if r.attempt.Result == string(remote.Lied) && !slices.Contains(out.Liars, r.attempt.Peer) {
			out.Liars = append(out.Liars, r.attempt.Peer)
		}
	}
	if err != nil {
		return out, err
	}
	return out, handOn(&out.Done, o)
}

// close lets go of all nodes.
func (g *group) close() {
	g.end()
	var all sync.WaitGroup
	for _, r := range g.all {
		if r.committed != nil {
			all.Go(r.committed.Close)
		}
	}
	if all.Wait(); g.stop != nil {
		g.stop()
	}
}

// handOn passes on the output of a job where somebody else is to have it.
func handOn(done *scheduler.Done, o scheduler.Offer) error {
	for _, s := range []struct {
		to   io.Writer
		data *[]byte
	}{{o.Stdout, &done.Stdout}, {o.Stderr, &done.Stderr}} {
		if s.to == nil {
			continue
		}
		if _, err := s.to.Write(*s.data); err != nil {
			return fmt.Errorf("passing on the output: %w", err)
		}
		*s.data = nil
	}
	return nil
}

// inTurn calls the functions of p one after the other, and the second once.
func inTurn(p remote.Progress) (q remote.Progress) {
	var mu sync.Mutex
	var running sync.Once
	if p.Accepted != nil {
		q.Accepted = func(peer, runID string) {
			mu.Lock()
			defer mu.Unlock()
			p.Accepted(peer, runID)
		}
	}
	if p.Running != nil {
		q.Running = func() {
			mu.Lock()
			defer mu.Unlock()
			running.Do(p.Running)
		}
	}
	if p.Failed != nil {
		q.Failed = func(a remote.Attempt) error {
			mu.Lock()
			defer mu.Unlock()
			return p.Failed(a)
		}
	}
	return q
}
