package remote

import (
	"time"

	"phase/appliance/compute/job"
)

// The types of frames. A requester sends the first nine, a worker the others.
const (
	typeOffer  = "offer"  // a job; the job file behind it
	typeLookup = "lookup" // instead: what became of a run
	typeCancel = "cancel" // instead: end a run
	typeNode   = "node"   // asks for the capability record (and answers, with it behind)
	typeModule = "module" // the module behind it
	typeInput  = "input"  // a piece of the input behind it
	typeReveal = "reveal" // show what was committed to (and answers, with the receipt behind)
	typeOutput = "output" // …and the outputs that the receipt is of
	typeAlive  = "alive"  // still there, from either side

	typeRejected   = "rejected"   // the last frame of an offer that is not run
	typeAccepted   = "accepted"   // …of one that is
	typeRunning    = "running"    // it begins
	typeStdout     = "stdout"     // a piece of output behind it
	typeStderr     = "stderr"     //
	typeEnded      = "ended"      // the module has ended: no more input is needed
	typeCommitment = "commitment" // binds the worker to a result that it does not show yet
	typeResult     = "result"     // how it ended; the receipt behind it. The last frame
	typeFailed     = "failed"     // it was accepted and has no receipt. The last frame
	typeCancelled  = "cancelled"  // answers cancel. The last frame
	typeUnknown    = "unknown"    // answers lookup and cancel: no such run of yours. The last frame
)

// What an accepted frame says of the module.
const (
	moduleNeeded = "needed"
	moduleHeld   = "held"
)

// header is the JSON of a frame. Which fields a type has is in docs/streams.md;
// those it does not have are ignored, so that later versions can add some.
type header struct {
	Type  string `json:"type"`
	Bytes int64  `json:"bytes,omitempty"` // raw bytes that follow; at most what the type allows

	// offer
	Nonce      string    `json:"nonce,omitempty"` // base64 of 16 bytes; also lookup, cancel
	Expires    time.Time `json:"expires,omitzero"`
	ModuleSize int64     `json:"module_size,omitempty"` // bytes
	StdinSize  *int64    `json:"stdin_size,omitempty"`  // bytes; absent: streamed
	Arch       string    `json:"arch,omitempty"`        // that the requester insists on; "" is any
	Runtime    string    `json:"runtime,omitempty"`     // the same
	Profile    string    `json:"profile,omitempty"`     // the same
	Commit     bool      `json:"commit,omitempty"`

	Last bool `json:"last,omitempty"` // input: nothing follows

	// accepted, result; lookup, cancel
	RunID    string `json:"run_id,omitempty"`
	JobID    string `json:"job_id,omitempty"`
	StartsMS int64  `json:"starts_in_ms,omitempty"` // milliseconds, an estimate
	Module   string `json:"module,omitempty"`

	// rejected, failed, unknown
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`

	// result, reveal
	ExitCode *uint32     `json:"exit_code,omitempty"`
	Outcome  job.Outcome `json:"outcome,omitempty"`

	Commitment string `json:"commitment,omitempty"` // SHA-256, hex
	Salt       string `json:"salt,omitempty"`       // 32 bytes, hex
}

// Raw is how many raw bytes follow.
func (h *header) Raw() int64 { return h.Bytes }
