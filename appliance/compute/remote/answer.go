package remote

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// Answer is the object that the requester of a job on another node gets: that of
// a job here, and which nodes did what. Replicas and Liars are there for a job
// with replicas only.
type Answer struct {
	scheduler.Answer
	Worker   string    `json:"worker"`
	Attempts []Attempt `json:"attempts"`
	Replicas []Replica `json:"replicas,omitzero"`
	Liars    []string  `json:"liars,omitzero"`
}

// Answer returns the object that tells of the outcome.
func (o Outcome) Answer() Answer {
	return Answer{o.Done.Answer(), o.Worker, append([]Attempt{}, o.Attempts...), o.Replicas, o.Liars}
}

// Verify holds an outcome that another program has handed on to what was asked:
// the receipt is of the peer that was to run the job, or of the worker that is
// named where any could, and of all that was sent and came back; with replicas,
// so is that of each node that agrees, and that of each other is genuine, of the
// same job, and does not. For outputs, see scheduler.Done.Verify.
func (o Outcome) Verify(where Where, offer scheduler.Offer) error {
	if where.On != Auto && o.Worker != where.On {
		return fmt.Errorf("the job was for the peer %s, and %.80q ran it", where.On, o.Worker)
	}
	pin, err := pinOf(o.Worker)
	if err != nil {
		return err
	}
	if err := o.Done.Verify(offer, pin); err != nil {
		return fmt.Errorf("the receipt of peer %s: %w", o.Worker, err)
	}
	if where.Replicas < 2 {
		return nil
	}
	var peers []string
	agree := 0
	for _, r := range o.Replicas {
		if err := o.verifyReplica(r, offer); err != nil {
			return fmt.Errorf("the receipt of peer %.80s: %w", r.Peer, err)
		}
		peers = append(peers, r.Peer)
		if r.Agrees {
			agree++
		}
	}
	slices.Sort(peers)
	switch {
	case len(slices.Compact(slices.Clone(peers))) != len(peers):
		return errors.New("checking the replicas: one node is there twice")
	case !slices.Contains(peers, o.Worker):
		return errors.New("checking the replicas: the receipt that counts is none of theirs")
	case agree*2 <= where.Replicas:
		return fmt.Errorf("checking the replicas: %d of %d agree, which is no majority", agree, where.Replicas)
	}
	return nil
}

// verifyReplica holds the receipt of one replica to the result that counts.
func (o Outcome) verifyReplica(r Replica, offer scheduler.Offer) error {
	pin, err := pinOf(r.Peer)
	if err != nil {
		return err
	}
	s, err := receipt.Verify(r.Receipt, pin)
	if err != nil {
		return err
	}
	if err := errors.Join(s.CheckJob(offer.Spec), s.CheckNonce(offer.Nonce), s.CheckStdin(sha256.Sum256(offer.Stdin))); err != nil {
		return err
	}
	p := s.Predicate
	same := errors.Join(s.CheckStdout(sha256.Sum256(o.Stdout)), s.CheckStderr(sha256.Sum256(o.Stderr))) == nil &&
		p.Outcome == o.Outcome && p.ExitCode == o.ExitCode
	if same != r.Agrees {
		return fmt.Errorf("it is said to agree: %t; by its receipt: %t", r.Agrees, same)
	}
	return nil
}
