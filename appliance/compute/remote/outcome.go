package remote

import (
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/scheduler"
)

// Auto, where a peer id could stand, has the job run by the node that fits it
// best.
const Auto = "auto"

// MaxReplicas is on how many nodes at most a job is run at once.
const MaxReplicas = 16

// Where says who is to run a job.
type Where struct {
	On       string // a peer id, or Auto
	Replicas int    // on how many distinct nodes; 0 and 1 are one
}

// Outcome is a job that ran on other nodes, verified. With an error, only
// Attempts counts.
type Outcome struct {
	scheduler.Done
	Worker   string    // the peer id of who ran it, whose receipt is in Done
	Attempts []Attempt // every node that was asked, in that order
	Replicas []Replica // of a job with more than one, those with a genuine receipt
	Liars    []string  // peer ids: those whose answer was not true, or not what the majority found
}

// Attempt is a node that a job was sent to, and what came of it.
type Attempt struct {
	Peer   string `json:"peer"`
	Result string `json:"result"` // ResultDone or a Failure
	Code   string `json:"code"`   // the scheduler.Reason for which it refused; else ""
	Reason string `json:"reason"` // for people; "" for what is done
}

// ResultDone is the result of an attempt with a genuine receipt.
const ResultDone = "done"

// Replica is a node that ran a job which others ran too.
type Replica struct {
	Peer    string         `json:"peer"`
	Receipt strictjson.Raw `json:"receipt"`
	Agrees  bool           `json:"agrees"` // with the majority, whose result counts
}

// Progress has functions that are called, one after the other, as a job on
// another node makes progress; each may be nil.
type Progress struct {
	// Accepted is called when a node has taken the job.
	Accepted func(peer, runID string)
	// Running is called when the job begins there.
	Running func()
	// Failed is called when an attempt has come to nothing and another node is
	// about to be tried: what the job has written so far does not count any
	// more. An error ends the job. Where Failed is nil, no other node is tried
	// once the job has written to the offer's Stdout or Stderr.
	Failed func(Attempt) error
}
