// Package remote runs jobs on other nodes and for other nodes, over streams that
// somebody else opens: /phase/job/1.0.0 for jobs and /phase/node/1.0.0 for what a
// node can do. The transport encrypts and proves who is at the other end; this
// package knows nothing of it. A Server has one door to the jobs of its node,
// scheduler.Place; a Client verifies every receipt against the peer it chose,
// the job it sent and the bytes it got. docs/streams.md describes the wire.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"phase/appliance/network/frame"
)

// The protocols, by the names that a stream is opened with.
const (
	JobProtocol  = "/phase/job/1.0.0"
	NodeProtocol = "/phase/node/1.0.0"
)

// Dial opens a stream to a peer for a protocol. The transport has proved that
// peerID (a libp2p peer id, "12D3KooW…") is at the other end when it returns.
type Dial func(ctx context.Context, peerID, protocol string) (frame.Stream, error)

// maxPiece is the most raw bytes behind a header, but for a module's.
const maxPiece = 1 << 20

// conn is a stream of frames with this package's headers.
type conn struct{ *frame.Conn }

func newConn(s frame.Stream, patience time.Duration) *conn { return &conn{frame.New(s, patience)} }

// next reads the next header, which has to come within a time.
func (c *conn) next(within time.Duration) (h header, err error) {
	err = c.Next(&h, within)
	if err == nil && h.Type == "" {
		err = fmt.Errorf("%w: a header without a type", frame.ErrProtocol)
	}
	return h, err
}

// send writes a frame with its raw bytes.
func (c *conn) send(h header, raw []byte) error {
	h.Bytes = int64(len(raw))
	return c.Send(h, raw)
}

// unexpected is the error of a frame that comes where another was to come.
func unexpected(h header, wanted string) error {
	return fmt.Errorf("%w: a frame %.20q where %s was to come", frame.ErrProtocol, h.Type, wanted)
}

// isEnd says whether a stream was ended cleanly between two frames.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
