package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"

	"phase/appliance/base/identity"
	"phase/appliance/base/problem"
	"phase/appliance/base/ui"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
)

// Remote runs jobs on other nodes and verifies what they answer.
type Remote interface {
	// Run sends an offer to the node or the nodes that are to run it. The offer
	// has an Input only where one peer is named, and no RunID. Ending ctx ends
	// the job there. With an error, the outcome still has the attempts.
	Run(context.Context, remote.Where, scheduler.Offer, remote.Progress) (remote.Outcome, error)
}

// where reads who is to run a job; On is "" for this node.
func where(got map[string][]byte) (w remote.Where, err error) {
	w.On, w.Replicas = string(got["on"]), 1
	if _, isOn := got["on"]; isOn && w.On != remote.Auto {
		if _, err := identity.ParsePeerID(w.On); err != nil {
			return w, bad("on: %q is neither %s nor a peer id: %v", ui.Clean(w.On), remote.Auto, err)
		}
	}
	if text, ok := got["replicas"]; ok {
		if w.Replicas, err = strconv.Atoi(string(text)); err != nil || w.Replicas < 1 || w.Replicas > remote.MaxReplicas {
			return w, bad("replicas: %q is not a number from 1 to %d", ui.Clean(string(text)), remote.MaxReplicas)
		}
		if w.Replicas > 1 && w.On == "" {
			w.On = remote.Auto
		}
	}
	if w.Replicas > 1 && w.On != remote.Auto {
		return w, bad("replicas: they run on nodes that this one picks, so leave on out, or let it be %s", remote.Auto)
	}
	return w, nil
}

// again says whether a job may have to be sent more than once.
func (r request) again() bool { return r.where.On == remote.Auto }

// execute runs a request, here or elsewhere. With events, they are sent as the
// job makes progress. The outcome of a job here names no worker.
func (c Config) execute(ctx context.Context, place *scheduler.Place, ask request, events *events) (remote.Outcome, error) {
	if ask.where.On != "" {
		return c.elsewhere(ctx, ask, events)
	}
	var watch scheduler.Watch
	if events != nil {
		watch = scheduler.Watch{
			Accepted: func(runID, jobID string) { events.send(event{Event: "accepted", RunID: runID, JobID: jobID}) },
			Running:  events.running,
			Ended:    events.ended,
		}
	}
	done, err := place.Execute(ctx, ask.offer, watch)
	return remote.Outcome{Done: done}, err
}

// elsewhere runs a request on other nodes. What this node allows for one job is
// of no account there, nor does its history know of it.
func (c Config) elsewhere(ctx context.Context, ask request, events *events) (remote.Outcome, error) {
	switch {
	case c.Remote == nil:
		return remote.Outcome{}, &elsewhereError{code: noNetwork, err: errors.New("this node takes part in no network, so no other can run the job; leave on and replicas out to run it here")}
	case ask.where.On == c.PeerID:
		return remote.Outcome{}, bad("on: %s is this node itself; leave on out to run the job here", c.PeerID)
	}
	if err := ask.offer.Check(); err != nil {
		return remote.Outcome{}, err
	}
	var progress remote.Progress // without events nothing has been handed on
	if events != nil {
		progress = remote.Progress{
			Accepted: func(peer, runID string) {
				events.send(event{Event: "accepted", RunID: runID, JobID: ask.offer.Spec.ID(), Worker: peer})
			},
			Running: events.running,
			Failed:  func(a remote.Attempt) error { return events.send(event{Event: "attempt", Attempt: &a}) },
		}
	}
	done, err := c.Remote.Run(ctx, ask.where, ask.offer, progress)
	if err != nil {
		err = &elsewhereError{attempts: done.Attempts, err: err}
	}
	return done, err
}

// elsewhereError is the error of a job that no other node has run.
type elsewhereError struct {
	attempts []remote.Attempt
	code     string // "" where that is in attempts or err
	err      error
}

func (e *elsewhereError) Error() string { return e.err.Error() }
func (e *elsewhereError) Unwrap() error { return e.err }

// The codes of jobs that other nodes were to run, beside those for which a node
// rejects a job.
const (
	noNetwork       = "NoNetwork"
	peerUnreachable = "PeerUnreachable"
	peerRefused     = "PeerRefused" // for a reason that is not known here
	peerDied        = "PeerDied"
	peerLied        = "PeerLied"
	noNode          = "NoNode"     // fits, or is there at all
	noMajority      = "NoMajority" // of the replicas
)

// judge is the answer that the error has.
func (e *elsewhereError) judge() Problem {
	var rejection *scheduler.Rejection
	status, code := http.StatusBadGateway, e.code
	switch {
	case code == noNetwork:
		status = http.StatusNotImplemented
	case errors.As(e.err, &rejection) && statuses[rejection.Reason] != 0:
		status, code = statuses[rejection.Reason], string(rejection.Reason)
	case errors.Is(e.err, remote.ErrNoNode):
		code = noNode
	case errors.Is(e.err, remote.ErrNoMajority):
		code = noMajority
	case errors.Is(e.err, context.Canceled):
		return Problem{Document: problem.New(http.StatusConflict, "", "the requester has left")} // nobody reads it
	default:
		code = map[remote.Failure]string{
			remote.Unreachable: peerUnreachable, remote.Refused: peerRefused, remote.Lied: peerLied,
		}[remote.FailureOf(e.err)]
		code = cmp.Or(code, peerDied)
	}
	return Problem{problem.New(status, code, e.Error()), e.attempts}
}

// Problem is the answer to a request that was not done. Attempts are the nodes
// that a job was sent to.
type Problem struct {
	problem.Document
	Attempts []remote.Attempt `json:"attempts,omitempty"`
}
