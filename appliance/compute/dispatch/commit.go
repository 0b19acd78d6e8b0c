package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"phase/appliance/compute/remote"
)

// commit has k nodes run the job and commit to its result. Another takes the
// place of one that fails. When it returns, none of them is still at it.
func (g *group) commit(ctx context.Context, k int) error {
	run, stop := context.WithCancel(ctx)
	g.stop = stop // not before they have shown their results
	ended, running, committed := make(chan *replica), 0, 0
	var err error
	for committed < k && err == nil {
		var r *replica
		if running+committed < k {
			if r, err = g.take(ctx); r != nil {
				running++
				go func() {
					g.run(run, r)
					ended <- r
				}()
			}
			continue
		}
		r = <-ended
		if running--; r.err == nil {
			committed++
			continue
		}
		if g.lost = r; remote.FailureOf(r.err) != remote.Refused {
			g.failed++
		}
	}
	if err != nil {
		stop()
	}
	for range running {
		<-ended
	}
	if errors.Is(err, errNoMore) {
		return g.tooFew(ctx, k)
	}
	return err
}

// run has one node run the job and commit to its result.
func (g *group) run(ctx context.Context, r *replica) {
	c, err := g.client.Commit(ctx, r.attempt.Peer, g.offer, watch(g.tell, r.attempt.Peer))
	if err != nil {
		r.fail(err)
		return
	}
	r.committed = c
}

// errNoMore is the error of taking a node where none is left.
var errNoMore = errors.New("no other node fits")

// take picks the next node, and says so where it is for another that has failed.
func (g *group) take(ctx context.Context) (*replica, error) {
	if g.failed >= maxFailed || len(g.all) >= maxTried {
		return nil, errNoMore
	}
	peerID, ok := g.next(ctx)
	if !ok {
		return nil, errNoMore
	}
	if g.lost != nil && g.tell.Failed != nil {
		if err := g.tell.Failed(g.lost.attempt); err != nil {
			return nil, err
		}
	}
	r := &replica{attempt: remote.Attempt{Peer: peerID, Result: string(remote.Stopped)}}
	g.all, g.lost = append(g.all, r), nil
	return r, nil
}

// tooFew is the error of a job that k nodes were to run and fewer did.
func (g *group) tooFew(ctx context.Context, k int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failures several
	for _, r := range g.all {
		if r.attempt.Result != string(remote.Stopped) {
			failures = append(failures, r.err)
		}
	}
	return fmt.Errorf("%d nodes were to run the job, and too few are left when %d have failed: %w", k, len(failures), failures)
}

// reveal has all show what they have committed to.
func (g *group) reveal() {
	var all sync.WaitGroup
	for _, r := range g.all {
		if r.committed == nil {
			continue
		}
		all.Go(func() {
			var err error
			if r.shown, r.envelope, err = r.committed.Reveal(); err != nil {
				r.fail(err)
				return
			}
			r.attempt = attempt(r.attempt.Peer, nil)
		})
	}
	all.Wait()
}

// settle compares what all have found. The result of more than half of the k that
// ran the job counts, and the outputs of one of them.
func (g *group) settle(k int) (out remote.Outcome, err error) {
	by := map[found][]*replica{}
	var most found
	for _, r := range g.all {
		if r.envelope == nil {
			continue
		}
		f := r.found()
		if by[f] = append(by[f], r); len(by[f]) > len(by[most]) {
			most = f
		}
	}
	if 2*len(by[most]) <= k {
		return out, g.noMajority(k, by)
	}
	for _, r := range g.all {
		if r.envelope == nil {
			continue
		}
		agrees := r.found() == most
		out.Replicas = append(out.Replicas, remote.Replica{Peer: r.attempt.Peer, Receipt: r.envelope, Agrees: agrees})
		if !agrees {
			out.Liars = append(out.Liars, r.attempt.Peer)
		}
	}
	for _, r := range by[most] {
		if out.Done, err = r.committed.Output(); err == nil {
			out.Worker = r.attempt.Peer
			return out, nil
		}
		r.fail(err)
	}
	return out, fmt.Errorf("%d of %d nodes agree on the result, and none of them has sent the outputs: %w", len(by[most]), k, err)
}

// noMajority is the error of results of which none is that of more than half.
func (g *group) noMajority(k int, by map[found][]*replica) error {
	var parts []string
	for f, list := range by {
		var peers []string
		for _, r := range list {
			peers = append(peers, r.attempt.Peer)
		}
		parts = append(parts, fmt.Sprintf("%s found %s, exit %d, stdout %.12s…, stderr %.12s…", strings.Join(peers, " and "), f.outcome, f.exitCode, f.stdout, f.stderr))
	}
	slices.Sort(parts)
	for _, r := range g.all {
		if r.committed != nil && r.err != nil {
			parts = append(parts, r.err.Error())
		}
	}
	return fmt.Errorf("%w: of %d, %s", remote.ErrNoMajority, k, strings.Join(parts, "; "))
}
