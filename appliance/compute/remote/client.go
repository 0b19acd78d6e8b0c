package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"phase/appliance/base/ui"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// Client sends jobs to other nodes. It is safe for concurrent use.
type Client struct {
	Dial  Dial
	Times Times
}

// dialTime is how long a stream may take to be opened: a peer behind a NAT is
// reached over a relay first.
const dialTime = 20 * time.Second

// open opens a stream and has it end with ctx.
func (c *Client) open(ctx context.Context, peerID, protocol string) (*conn, func(), error) {
	within, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	stream, err := c.Dial(within, peerID, protocol)
	if err != nil {
		return nil, nil, during("opening a stream", err)
	}
	cut := context.AfterFunc(ctx, func() { _ = stream.Reset() }) // ends whatever waits for it
	return newConn(stream, c.Times.orDefault().Piece), func() {
		cut()
		_ = stream.Reset() // after Close it does nothing
	}, nil
}

// Run sends an offer to a peer and returns what it did, verified: the receipt is
// signed by that peer, is of the job and the nonce that were sent, and signs the
// bytes that came back. Output goes to the offer's Stdout and Stderr as it
// comes, or into Done where they are nil. The offer's Requester and RunID are
// not sent. Where the stream breaks, the receipt is looked up over a new one. The
// error is a *PeerError. Ended is called where the offer has an Input, and all of
// the Watch before Run returns.
func (c *Client) Run(ctx context.Context, peerID string, o scheduler.Offer, w scheduler.Watch) (scheduler.Done, error) {
	x, err := c.exchange(ctx, peerID, o, w)
	if err != nil {
		return scheduler.Done{}, err
	}
	defer x.close()
	if err := x.run(); err != nil {
		return scheduler.Done{}, x.failed(err)
	}
	return x.done, nil
}

// exchange opens a stream for an offer.
func (c *Client) exchange(ctx context.Context, peerID string, o scheduler.Offer, w scheduler.Watch) (*exchange, error) {
	pin, err := pinOf(peerID)
	if err != nil {
		return nil, &PeerError{Peer: peerID, Failure: Unreachable, Err: err}
	}
	x := &exchange{client: c, times: c.Times.orDefault(), ctx: ctx, pin: pin, offer: o, watch: w, ended: make(chan struct{}), unread: make(chan error, 1)}
	x.out = newReceived(o)
	if x.conn, x.cut, err = c.open(ctx, peerID, JobProtocol); err != nil {
		return nil, x.fail(Unreachable, err)
	}
	return x, nil
}

// fail is the error of an exchange.
func (x *exchange) fail(f Failure, err error) error {
	if f == Unreachable && x.ctx.Err() != nil {
		f, err = Stopped, context.Cause(x.ctx)
	}
	return &PeerError{Peer: x.pin.PeerID, Failure: f, RunID: x.runID, Err: err}
}

// failed is the error that an exchange ends with. Where this side gave up, the
// peer is told.
func (x *exchange) failed(err error) error {
	var already *PeerError
	if errors.As(err, &already) {
		return err
	}
	f := failure(x.ctx, err)
	if f == Stopped {
		if x.ctx.Err() != nil {
			err = context.Cause(x.ctx)
		}
		x.client.tell(x.ctx, x.pin.PeerID, x.offer.Nonce)
	}
	return x.fail(f, err)
}

// tellTime is how long a peer is told that its work is not wanted any more.
const tellTime = 3 * time.Second

// tell cancels an offer, over a stream of its own, as that of the offer may be
// full of what nobody reads.
func (c *Client) tell(ctx context.Context, peerID, nonce string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	_, _ = c.cancel(ctx, peerID, header{Type: typeCancel, Nonce: nonce}) // it notices the broken stream, later
}

// Cancel ends a run that this node has asked a peer for. The error is a
// *PeerError; it wraps ErrUnknownRun where the peer has no such run, or it is
// over.
func (c *Client) Cancel(ctx context.Context, peerID, runID string) error {
	f, err := c.cancel(ctx, peerID, header{Type: typeCancel, RunID: runID})
	if err != nil {
		return &PeerError{Peer: peerID, Failure: f, RunID: runID, Err: err}
	}
	return nil
}

// ErrUnknownRun is in the error of a run that a peer does not know as ours.
var ErrUnknownRun = errors.New("the peer knows no such run of ours")

func (c *Client) cancel(ctx context.Context, peerID string, ask header) (Failure, error) {
	conn, cut, err := c.open(ctx, peerID, JobProtocol)
	if err != nil {
		return Unreachable, err
	}
	defer cut()
	err = conn.send(ask, nil)
	var h header
	if err == nil {
		h, err = conn.next(c.Times.orDefault().First)
	}
	switch {
	case err != nil:
		return failure(ctx, err), during("cancelling", err)
	case h.Type == typeCancelled:
		return "", nil
	case h.Type == typeRejected:
		return Refused, rejection(h)
	case h.Type == typeUnknown:
		return Died, ErrUnknownRun
	}
	return Lied, unexpected(h, typeCancelled)
}

// Lookup asks a peer for the receipt of a run, by its run id, and waits for its
// end. The receipt is verified to be the peer's, and of that run; hold it to the
// job and the outputs by its Check methods. The error is a *PeerError.
func (c *Client) Lookup(ctx context.Context, peerID, runID string) (envelope []byte, s receipt.Statement, err error) {
	pin, err := pinOf(peerID)
	if err != nil {
		return nil, s, &PeerError{Peer: peerID, Failure: Unreachable, RunID: runID, Err: err}
	}
	done, f, err := c.lookup(ctx, peerID, header{Type: typeLookup, RunID: runID})
	if err == nil {
		if s, err = receipt.Verify(done.Receipt, pin); err == nil && s.Predicate.RunID != runID {
			err = errors.New("checking the receipt: it is of another run")
		}
		f = Lied
	}
	if err != nil {
		return nil, s, &PeerError{Peer: peerID, Failure: f, RunID: runID, Err: err}
	}
	return done.Receipt, s, nil
}

// lookup asks for what became of a run. Nothing of it is verified.
func (c *Client) lookup(ctx context.Context, peerID string, ask header) (scheduler.Done, Failure, error) {
	conn, cut, err := c.open(ctx, peerID, JobProtocol)
	if err != nil {
		return scheduler.Done{}, Unreachable, err
	}
	defer cut()
	if err := conn.send(ask, nil); err != nil {
		return scheduler.Done{}, failure(ctx, err), during("looking up the receipt", err)
	}
	for {
		h, err := conn.next(c.Times.orDefault().Silence)
		switch {
		case err != nil:
			return scheduler.Done{}, failure(ctx, err), during("looking up the receipt", err)
		case h.Type == typeResult:
			done, err := readResult(conn, h)
			return done, failure(ctx, err), err
		case h.Type == typeUnknown:
			return scheduler.Done{}, Died, ErrUnknownRun
		case h.Type == typeFailed:
			return scheduler.Done{}, Died, fmt.Errorf("it has no receipt: %s", ui.Clean(h.Detail))
		case h.Type == typeRejected:
			return scheduler.Done{}, Refused, rejection(h)
		case h.Type != typeAlive:
			return scheduler.Done{}, Lied, unexpected(h, typeResult)
		}
	}
}
