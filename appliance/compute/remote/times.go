package remote

import (
	"cmp"
	"time"
)

// Times are how long things may take on a stream. Zero fields have the default
// that stands behind them.
type Times struct {
	First    time.Duration // for the first frame of a stream to come, and its answer: 10 s
	Piece    time.Duration // for a piece of at most 256 KiB to be read or written: 30 s
	Beat     time.Duration // between two signs of life: 5 s
	Silence  time.Duration // without any frame, after which the other end is gone: 30 s
	Sending  time.Duration // for an offer to come with its module and an input that is not streamed: 10 min
	Input    time.Duration // for the rest of a streamed input to come when the module has ended: 10 s
	Grace    time.Duration // that a run goes on whose requester's stream has broken: 60 s
	Reveal   time.Duration // that a committed result waits to be revealed: 2 h
	Begin    time.Duration // that a requester waits for an accepted job to begin: 10 min
	Overtime time.Duration // beyond a job's own limit that a requester waits for its receipt: 60 s
	Recover  time.Duration // that a requester tries to look up a receipt when its stream has broken: 30 s
	Validity time.Duration // of an offer: 5 min
}

func (t Times) orDefault() Times {
	return Times{
		First: cmp.Or(t.First, 10*time.Second), Piece: cmp.Or(t.Piece, 30*time.Second),
		Beat: cmp.Or(t.Beat, 5*time.Second), Silence: cmp.Or(t.Silence, 30*time.Second),
		Sending: cmp.Or(t.Sending, 10*time.Minute),
		Input:   cmp.Or(t.Input, 10*time.Second), Grace: cmp.Or(t.Grace, time.Minute),
		Reveal: cmp.Or(t.Reveal, 2*time.Hour), Begin: cmp.Or(t.Begin, 10*time.Minute),
		Overtime: cmp.Or(t.Overtime, time.Minute), Recover: cmp.Or(t.Recover, 30*time.Second),
		Validity: cmp.Or(t.Validity, 5*time.Minute),
	}
}

// maxValidity is the longest that an offer may be valid: until then its nonce
// is remembered.
const maxValidity = 15 * time.Minute
