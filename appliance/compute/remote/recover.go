package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// recoverPause is how long a peer that could not be reached is left alone.
const recoverPause = 500 * time.Millisecond

// recover looks the receipt up over new streams, when that of the job has
// broken. Where that is of no use, it returns the error it was given.
func (x *exchange) recover(cause error) error {
	var already *PeerError
	if errors.As(cause, &already) || failure(x.ctx, cause) != Died || x.commit {
		return cause
	}
	if errors.Is(cause, errSlow) {
		x.client.tell(x.ctx, x.pin.PeerID, x.offer.Nonce)
		return cause
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.times.Recover)
	defer cancel()
	for {
		done, f, err := x.client.lookup(ctx, x.pin.PeerID, header{Type: typeLookup, RunID: x.runID})
		switch {
		case err == nil:
			return x.recovered(done, cause)
		case f != Unreachable && !(f == Died && ctx.Err() == nil && !errors.Is(err, ErrUnknownRun)):
			return fmt.Errorf("%w; looking up the receipt: %w", cause, err)
		}
		select {
		case <-time.After(recoverPause):
		case <-ctx.Done():
			return fmt.Errorf("%w; looking up the receipt for %v: %w", cause, x.times.Recover, err)
		}
	}
}

// recovered verifies a receipt that was looked up. Where only the outputs do not
// match, the peer has told the truth and they were lost on the way.
func (x *exchange) recovered(done scheduler.Done, cause error) error {
	wrong := x.verify(done)
	if wrong == nil {
		return nil
	}
	s, err := receipt.Verify(done.Receipt, x.pin)
	if err != nil {
		return wrong
	}
	if stdout, stderr := outputs(s); x.check(done, stdout, stderr) != nil {
		return wrong
	}
	return fmt.Errorf("%w; it ran as %s and its receipt is genuine, but some of its output was lost on the way", cause, done.RunID)
}

// outputs are the digests of stdout and stderr that a receipt signs.
func outputs(s receipt.Statement) (stdout, stderr [sha256.Size]byte) {
	out, _ := names.ParseHex(s.Subject[0].Digest["sha256"]) // receipt.Verify has checked the form
	err, _ := names.ParseHex(s.Subject[1].Digest["sha256"])
	return out, err
}
