package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"phase/appliance/base/ui"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/wasm"
	"phase/appliance/network/frame"
)

// exchange is an offer on its way to a peer, and what comes back.
type exchange struct {
	client *Client
	times  Times
	ctx    context.Context
	pin    receipt.Pin // of the peer
	offer  scheduler.Offer
	watch  scheduler.Watch
	conn   *conn
	cut    func() // ends the stream

	sending func() // ends the signs of life

	commit bool // the peer is to commit before it shows its result
	shown  bool // …and has done it
	begun  bool // the job
	runID  string
	out    *received
	done   scheduler.Done
	ended  chan struct{} // closed when the module has ended
	unread chan error    // why the input cannot be read
}

// close ends the stream, and the input where there is one.
func (x *exchange) close() {
	if x.cut(); x.sending != nil {
		x.sending()
	}
	if x.offer.Input != nil {
		x.offer.Input.Sum() // nothing more of it is read
	}
}

// run offers the job, and takes what comes until the receipt is verified.
func (x *exchange) run() error {
	h, err := x.propose()
	if err != nil {
		return err
	}
	last, err := x.accepted(h, typeResult)
	if err != nil {
		return x.recover(err)
	}
	return x.settle(last)
}

// propose sends the offer and returns the frame that accepts it.
func (x *exchange) propose() (header, error) {
	name, _ := wasm.Runtime()
	ask := header{
		Type: typeOffer, Nonce: x.offer.Nonce, Expires: time.Now().Add(x.times.Validity).UTC(),
		ModuleSize: int64(len(x.offer.Module.Bytes())), Runtime: name, Profile: wasm.Profile, Commit: x.commit,
	}
	if x.offer.Input == nil {
		size := int64(len(x.offer.Stdin))
		ask.StdinSize = &size
	}
	wrote := x.conn.send(ask, x.offer.Spec.File())
	h, err := x.conn.next(x.times.First) // also where it stopped to read: it may say why
	switch {
	case err != nil:
		return h, during("waiting for the answer to the offer", errors.Join(wrote, err))
	case h.Type == typeRejected:
		return h, rejection(h)
	case h.Type != typeAccepted:
		return h, unexpected(h, typeAccepted)
	case h.JobID != x.offer.Spec.ID():
		return h, lie{fmt.Errorf("it accepts the job %.80q, and was asked for %s", h.JobID, x.offer.Spec.ID())}
	case h.Module != moduleNeeded && h.Module != moduleHeld:
		return h, fmt.Errorf("%w: it accepts the job and says of its module %.20q", frame.ErrProtocol, h.Module)
	case !isRunID(h.RunID):
		return h, fmt.Errorf("%w: it accepts the job as %.40q, which is no run id", frame.ErrProtocol, h.RunID)
	case wrote != nil:
		return h, during("sending the offer", wrote)
	}
	x.runID = h.RunID
	if x.watch.Accepted != nil {
		x.watch.Accepted(h.RunID, h.JobID)
	}
	return h, nil
}

// accepted sends what the peer needs and takes what comes, until a frame of the
// type until, which it returns.
func (x *exchange) accepted(h header, until string) (header, error) {
	stop := make(chan struct{})
	go x.send(h.Module == moduleNeeded, stop)
	last, err := x.take(until)
	if err == nil {
		x.sending = sync.OnceFunc(func() { close(stop) })
		return last, nil
	}
	_ = x.conn.Reset() // ends the sending
	close(stop)
	if x.offer.Input != nil {
		x.done.Input = x.offer.Input.Sum()
	}
	select {
	case here := <-x.unread:
		return last, here
	default: // its input may wait for more, and is not waited for
		return last, err
	}
}

// take reads frames until one of the type until. Each wait has an end: for the
// next frame, for the job to begin, and for it to end.
func (x *exchange) take(until string) (header, error) {
	deadline, what := time.Now().Add(x.times.Begin), "waiting for the job to begin"
	if x.begun {
		deadline, what = time.Now().Add(x.times.Overtime), "waiting for the result"
	}
	for {
		within := min(x.times.Silence, time.Until(deadline))
		if within <= 0 {
			return header{}, fmt.Errorf("%s: %w", what, errSlow)
		}
		h, err := x.conn.next(within)
		if err != nil {
			return h, during(what, err)
		}
		switch h.Type {
		case until:
			return h, nil
		case typeAlive:
		case typeRunning:
			if x.begun {
				return h, fmt.Errorf("%w: the job begins twice", frame.ErrProtocol)
			}
			if x.begun = true; x.watch.Running != nil {
				x.watch.Running()
			}
			deadline, what = time.Now().Add(x.offer.Spec.Timeout()+x.times.Overtime), "waiting for the job to end"
		case typeStdout, typeStderr:
			if x.commit && !x.shown {
				return h, unexpected(h, until)
			}
			if err := x.out.take(x.conn, h.Type); err != nil {
				return h, err
			}
		case typeEnded:
			if err := x.endInput(); err != nil {
				return h, err
			}
		case typeRejected:
			return h, rejection(h)
		case typeFailed:
			return h, &PeerError{Peer: x.pin.PeerID, Failure: Died, RunID: x.runID, Err: errors.New(ui.Clean(h.Detail))}
		default:
			return h, unexpected(h, until)
		}
	}
}

// endInput ends a streamed input: the module has ended.
func (x *exchange) endInput() error {
	if x.offer.Input == nil {
		return nil
	}
	select {
	case <-x.ended:
		return fmt.Errorf("%w: the module ends twice", frame.ErrProtocol)
	default:
	}
	x.done.Input = x.offer.Input.Sum()
	if close(x.ended); x.watch.Ended != nil {
		x.watch.Ended()
	}
	return nil
}

// settle reads the receipt and verifies it.
func (x *exchange) settle(h header) error {
	done, err := readResult(x.conn, h)
	if err != nil {
		return x.recover(err)
	}
	_ = x.conn.Close() // nothing more is said
	return x.verify(done)
}

// verify holds what the peer answered to what was sent and to what came.
func (x *exchange) verify(done scheduler.Done) error {
	stdout, stderr := x.out.sums()
	if err := x.check(done, stdout, stderr); err != nil {
		return err
	}
	done.Input, done.Stdout, done.Stderr = x.done.Input, x.out.kept[0], x.out.kept[1]
	x.done = done
	return nil
}

// check is verify for outputs of these digests.
func (x *exchange) check(done scheduler.Done, stdout, stderr [sha256.Size]byte) error {
	done.Input = x.done.Input
	if err := done.VerifyDigests(x.offer, x.pin, stdout, stderr); err != nil {
		return lie{err}
	}
	if done.RunID != x.runID {
		return lie{fmt.Errorf("it accepted the run %s and answers with %.40q", x.runID, done.RunID)}
	}
	return nil
}

// isRunID says whether a text has the form of a run id.
func isRunID(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 16
}

// send sends module, input and signs of life, until stop is closed. Whoever reads
// notices what is wrong with the stream.
func (x *exchange) send(module bool, stop <-chan struct{}) {
	if module && x.conn.send(header{Type: typeModule}, x.offer.Module.Bytes()) != nil {
		return
	}
	go x.sendInput()
	ticker := time.NewTicker(x.times.Beat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = x.conn.send(header{Type: typeAlive}, nil)
		case <-stop:
			return
		}
	}
}

// sendInput sends the input, piece by piece.
func (x *exchange) sendInput() {
	from := io.Reader(x.offer.Input)
	if x.offer.Input == nil {
		if len(x.offer.Stdin) == 0 {
			return // the offer has said so
		}
		from = bytes.NewReader(x.offer.Stdin)
	}
	piece := make([]byte, frame.Piece)
	for {
		n, err := from.Read(piece)
		if n > 0 && x.conn.send(header{Type: typeInput}, piece[:n]) != nil {
			return
		}
		switch {
		case err == io.EOF:
			_ = x.conn.send(header{Type: typeInput, Last: true}, nil)
			return
		case err != nil:
			x.unread <- local{fmt.Errorf("reading the input: %w", err)}
			_ = x.conn.Reset()
			return
		}
	}
}

// rejection is what a rejected frame says.
func rejection(h header) error {
	return &scheduler.Rejection{Reason: scheduler.Reason(ui.Clean(h.Reason)), Detail: ui.Clean(h.Detail)}
}

// errSlow is in the error of a peer that is there and took too long.
var errSlow = errors.New("it took too long")
