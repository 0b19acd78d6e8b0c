package remote

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/frame"
)

// Committed is a job that a peer has run, and to whose result it is bound though
// it has not shown it yet. It is of use to one goroutine.
type Committed struct {
	x          *exchange
	commitment string
	receipt    []byte // once it is revealed
}

// Commit is Run by a peer that is to commit to its result before it shows it: it
// returns when it has. The offer has no Input, and its Stdout and Stderr are not
// used. The run is given up when ctx ends or Close is called. The error is a
// *PeerError.
func (c *Client) Commit(ctx context.Context, peerID string, o scheduler.Offer, w scheduler.Watch) (*Committed, error) {
	o.Stdout, o.Stderr = nil, nil
	x, err := c.exchange(ctx, peerID, o, w)
	if err != nil {
		return nil, err
	}
	x.commit = true
	var h header
	if h, err = x.propose(); err == nil {
		h, err = x.accepted(h, typeCommitment)
	}
	if err == nil {
		if _, err = names.ParseHex(h.Commitment); err != nil {
			err = lie{fmt.Errorf("its commitment is none: %w", err)}
		}
	}
	if err != nil {
		err = x.failed(err)
		x.close()
		return nil, err
	}
	return &Committed{x: x, commitment: h.Commitment}, nil
}

// RunID names the run at the peer.
func (k *Committed) RunID() string { return k.x.runID }

// Close lets go of the peer. What was not asked for is not shown any more.
func (k *Committed) Close() {
	k.x.conn.Finish(finishTime) // so that it sees an end, and no breakdown
	k.x.close()
}

// finishTime is how long the peer has to end its side.
const finishTime = time.Second

// Reveal has the peer show what it has committed to, and returns its receipt,
// which is verified: it is what was committed to, signed by the peer, and of the
// job that was sent. Its outputs are not there yet. The error is a *PeerError.
func (k *Committed) Reveal() (receipt.Statement, []byte, error) {
	s, err := k.reveal()
	if err != nil {
		return s, nil, k.x.failed(err)
	}
	k.x.shown = true
	return s, k.receipt, nil
}

func (k *Committed) reveal() (s receipt.Statement, err error) {
	if err := k.x.conn.send(header{Type: typeReveal}, nil); err != nil {
		return s, during("asking for what was committed to", err)
	}
	h, err := k.x.take(typeReveal)
	if err != nil {
		return s, err
	}
	if _, err := names.ParseHex(h.Salt); err != nil {
		return s, lie{fmt.Errorf("the salt of its commitment is none: %w", err)}
	}
	done, err := readResult(k.x.conn, h)
	if err != nil {
		return s, err
	}
	if s, err = receipt.Verify(done.Receipt, k.x.pin); err != nil {
		return s, lie{err}
	}
	made := commitment(k.x.pin.PeerID, s, h.Salt)
	if subtle.ConstantTimeCompare([]byte(made), []byte(k.commitment)) != 1 {
		return s, lie{errors.New("it shows another result than the one it committed to")}
	}
	stdout, stderr := outputs(s)
	if err := k.x.check(done, stdout, stderr); err != nil {
		return s, err
	}
	k.receipt = done.Receipt
	return s, nil
}

// Output has the peer send the outputs of a result it has shown, and returns the
// job, verified as Run does. The error is a *PeerError.
func (k *Committed) Output() (scheduler.Done, error) {
	if err := k.output(); err != nil {
		return scheduler.Done{}, k.x.failed(err)
	}
	return k.x.done, nil
}

func (k *Committed) output() error {
	if !k.x.shown {
		return fmt.Errorf("%w: outputs were asked for before the result", frame.ErrProtocol)
	}
	if err := k.x.conn.send(header{Type: typeOutput}, nil); err != nil {
		return during("asking for the outputs", err)
	}
	h, err := k.x.take(typeResult)
	if err != nil {
		return err
	}
	if err := k.x.settle(h); err != nil {
		return err
	}
	if !bytes.Equal(k.x.done.Receipt, k.receipt) {
		return lie{errors.New("it has another receipt than the one it showed")}
	}
	return nil
}

// readResult reads what stands behind a result.
func readResult(c *conn, h header) (done scheduler.Done, err error) {
	if h.ExitCode == nil {
		return done, fmt.Errorf("%w: a result without an exit code", frame.ErrProtocol)
	}
	done.RunID, done.JobID, done.ExitCode, done.Outcome = h.RunID, h.JobID, *h.ExitCode, h.Outcome
	done.Receipt, err = c.Bytes(strictjson.MaxBytes)
	return done, err
}
