package remote

import (
	"context"
	"errors"
	"fmt"
	"os"

	"phase/appliance/compute/scheduler"
	"phase/appliance/network/frame"
)

// Failure is why a job that was sent to a peer has no receipt that counts.
type Failure string

// All failures.
const (
	Unreachable Failure = "unreachable" // no stream to it was opened
	Refused     Failure = "refused"     // it rejected the offer; the error wraps a *scheduler.Rejection
	Died        Failure = "died"        // it accepted the offer, and nothing came of it
	Lied        Failure = "lied"        // what it answered is not of the job that was sent, or not signed by it
	Stopped     Failure = "stopped"     // this side ended it: the context has ended, or the input or the output failed
)

// PeerError names the peer that a job was sent to, and what went wrong.
type PeerError struct {
	Peer    string
	Failure Failure
	RunID   string // "" where the peer did not accept the job
	Err     error
}

func (e *PeerError) Error() string {
	says := map[Failure]string{
		Unreachable: "cannot be reached", Refused: "refused the job", Died: "gave no receipt", Lied: "does not tell the truth",
		Stopped: "was asked to stop",
	}[e.Failure]
	return fmt.Sprintf("peer %s %s: %v", e.Peer, says, e.Err)
}

func (e *PeerError) Unwrap() error { return e.Err }

// FailureOf returns the failure in an error of a Client, "" if there is none.
func FailureOf(err error) Failure {
	var p *PeerError
	if errors.As(err, &p) {
		return p.Failure
	}
	return ""
}

// ErrNoNode is in the error of a job for which no node was found that fits.
var ErrNoNode = errors.New("no node was found that can run the job")

// ErrNoMajority is in the error of a job whose replicas do not agree.
var ErrNoMajority = errors.New("no more than half of the nodes agree on the result")

// lie is an error that only a peer which does not tell the truth can cause.
type lie struct{ error }

func (l lie) Unwrap() error { return l.error }

// local is an error of this side.
type local struct{ error }

func (l local) Unwrap() error { return l.error }

// failure sorts an error of an exchange with a peer.
func failure(ctx context.Context, err error) Failure {
	var r *scheduler.Rejection
	var lied lie
	var here local
	switch {
	case ctx.Err() != nil || errors.As(err, &here):
		return Stopped
	case errors.As(err, &r):
		return Refused
	case errors.As(err, &lied), errors.Is(err, frame.ErrProtocol):
		return Lied
	}
	return Died
}

// during says what was waited for when an error came.
func during(what string, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s: it took too long: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
