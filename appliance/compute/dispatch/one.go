package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
)

// named has a job run by one peer.
func (d *Dispatcher) named(ctx context.Context, peerID string, o scheduler.Offer, p remote.Progress) (out remote.Outcome, err error) {
	if out.Done, err = d.Client.Run(ctx, peerID, o, watch(p, peerID)); err == nil {
		out.Worker = peerID
	}
	out.Attempts = []remote.Attempt{attempt(peerID, err)}
	if remote.FailureOf(err) == remote.Lied {
		out.Liars = []string{peerID}
	}
	return out, err
}

// watch hands on the progress of one attempt.
func watch(p remote.Progress, peerID string) (w scheduler.Watch) {
	if p.Accepted != nil {
		w.Accepted = func(runID, _ string) { p.Accepted(peerID, runID) }
	}
	w.Running = p.Running
	return w
}

// attempt tells what came of a job that was sent to a peer.
func attempt(peerID string, err error) remote.Attempt {
	a := remote.Attempt{Peer: peerID, Result: remote.ResultDone}
	if err == nil {
		return a
	}
	a.Result, a.Reason = string(cmp.Or(remote.FailureOf(err), remote.Stopped)), err.Error()
	var failed *remote.PeerError
	if errors.As(err, &failed) {
		a.Reason = failed.Err.Error()
	}
	var r *scheduler.Rejection
	if errors.As(err, &r) {
		a.Code, a.Reason = string(r.Reason), r.Detail
	}
	return a
}

// How many nodes are tried for one job: of those that fail at it, and of all; to
// be refused costs little.
const (
	maxFailed = 5
	maxTried  = 32
)

// auto has a job run by the node that fits best, and by the next where that
// fails.
func (d *Dispatcher) auto(ctx context.Context, o scheduler.Offer, p remote.Progress) (out remote.Outcome, err error) {
	search := d.search(ctx, Requirement(o.Spec))
	defer func() { search.end() }()
	client, wrote := d.hasty(), false
	o.Stdout, o.Stderr = noted(o.Stdout, &wrote), noted(o.Stderr, &wrote)
	var failures []error
	for failed := 0; failed < maxFailed && len(out.Attempts) < maxTried; {
		peerID, ok := search.next(ctx)
		if !ok {
			break
		}
		if n := len(out.Attempts); n > 0 && p.Failed != nil {
			if err := p.Failed(out.Attempts[n-1]); err != nil {
				return out, err
			}
			wrote = false
		}
		out.Done, err = client.Run(ctx, peerID, o, watch(p, peerID))
		out.Attempts = append(out.Attempts, attempt(peerID, err))
		if err == nil {
			out.Worker = peerID
			return out, nil
		}
		failures = append(failures, err)
		switch f := remote.FailureOf(err); {
		case f == remote.Stopped:
			return out, err
		case wrote && p.Failed == nil:
			return out, fmt.Errorf("some of its output has been passed on, so no other node is tried: %w", err)
		case f == remote.Lied:
			out.Liars = append(out.Liars, peerID)
			failed++
		case f != remote.Refused:
			failed++
		}
	}
	if len(failures) == 0 {
		fit, misfits := search.ranked(1)
		return out, none(ctx, 1, len(fit), misfits)
	}
	if len(failures) == 1 {
		return out, fmt.Errorf("no other node was found to run the job: %w", failures[0])
	}
	return out, fmt.Errorf("%d nodes were asked, and none ran the job: %w", len(failures), several(failures))
}

// several are errors in one line.
type several []error

func (s several) Unwrap() []error { return s }

func (s several) Error() string {
	list := make([]string, 0, len(s))
	for _, err := range s {
		list = append(list, err.Error())
	}
	return strings.Join(list, "; ")
}

// hasty is the client for a job that another node can run as well: it does not
// wait for long for one that cannot be reached any more.
func (d *Dispatcher) hasty() *remote.Client {
	client := *d.Client
	client.Times.Recover = d.Times.orDefault().Recover
	return &client
}

// noted is a writer that notes that something was written; nil remains nil.
func noted(to io.Writer, wrote *bool) io.Writer {
	if to == nil {
		return nil
	}
	return note{to, wrote}
}

type note struct {
	to    io.Writer
	wrote *bool
}

func (n note) Write(p []byte) (int, error) {
	*n.wrote = true
	return n.to.Write(p)
}
