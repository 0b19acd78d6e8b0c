// Package remote runs jobs on other nodes and for other nodes, over streams that
// somebody else opens: /phase/job/1.0.0 for jobs and /phase/node/1.0.0 for what a
// node can do. The transport encrypts and proves who is at the other end; this
// package knows nothing of it. A Server has one door to the jobs of its node,
// scheduler.Place; a Client verifies every receipt against the peer it chose,
// the job it sent and the bytes it got. docs/streams.md describes the wire.
package remote

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"phase/appliance/base/strictjson"
)

// The protocols, by the names that a stream is opened with.
const (
	JobProtocol  = "/phase/job/1.0.0"
	NodeProtocol = "/phase/node/1.0.0"
)

// Stream is what a transport gives: ordered bytes both ways. A libp2p stream is
// one.
type Stream interface {
	io.Reader
	io.Writer
	CloseWrite() error // the other end reads io.EOF behind what was written
	Close() error
	Reset() error // ends both directions at once; the other end has an error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Dial opens a stream to a peer for a protocol. The transport has proved that
// peerID (a libp2p peer id, "12D3KooW…") is at the other end when it returns.
type Dial func(ctx context.Context, peerID, protocol string) (Stream, error)

const (
	// maxHeader is the most bytes a header may have.
	maxHeader = 64 << 10
	// maxPiece is the most raw bytes behind a header, but for a module's.
	maxPiece = 1 << 20
	// pieceBytes is how much this side puts behind one header.
	pieceBytes = 256 << 10
)

// ErrFrame is in the error of what is not spoken here: a frame that is too
// large, is no JSON or comes at the wrong time.
var ErrFrame = errors.New("the other end does not speak the protocol")

func unexpected(h header, wanted string) error {
	return fmt.Errorf("%w: a frame %.20q where %s was to come", ErrFrame, h.Type, wanted)
}

// readHeader reads one header: a big-endian uint32, the length in bytes, and as
// much JSON. At the clean end of the stream the error is io.EOF.
func readHeader(r io.Reader) (h header, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return h, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxHeader {
		return h, fmt.Errorf("%w: a header of %d bytes, 1 to %d are allowed", ErrFrame, n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, fmt.Errorf("reading a header: %w", noEnd(err))
	}
	if err := strictjson.Unmarshal(text, &h, strictjson.Limit(maxHeader)); err != nil {
		return h, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if h.Type == "" || h.Bytes < 0 {
		return h, fmt.Errorf("%w: a header without a type, or with less than no bytes", ErrFrame)
	}
	return h, nil
}

// noEnd is an error of reading where there may be no end.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// conn is a stream that frames are read from by one goroutine and written to by
// several.
type conn struct {
	Stream
	in       *bufio.Reader
	patience time.Duration // for one frame to be written, or one piece to be read
	left     int64         // of the raw bytes behind the last header
	listened chan struct{} // closed when the goroutine that reads has ended; nil where there is none

	out sync.Mutex
	buf []byte
}

func newConn(s Stream, patience time.Duration) *conn {
	return &conn{Stream: s, in: bufio.NewReaderSize(s, 32<<10), patience: patience}
}

// next reads the next header, which has to come within a time. Raw bytes behind
// the last one have been read.
func (c *conn) next(within time.Duration) (header, error) {
	if c.left != 0 {
		return header{}, fmt.Errorf("%w: %d bytes behind a frame that has none", ErrFrame, c.left)
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return header{}, err
	}
	h, err := readHeader(c.in)
	c.left = h.Bytes
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("nothing came for %v: %w", within, err)
	}
	return h, err
}

// raw reads the raw bytes behind the last header, at most most, piece by piece;
// take gets each piece, which it may not keep.
func (c *conn) raw(most int64, take func([]byte) error) error {
	if c.left > most {
		return fmt.Errorf("%w: %d bytes behind a frame, at most %d are allowed", ErrFrame, c.left, most)
	}
	piece := make([]byte, min(c.left, pieceBytes))
	for c.left > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
			return err
		}
		n, err := io.ReadFull(c.in, piece[:min(c.left, pieceBytes)])
		if err != nil {
			return fmt.Errorf("reading the bytes behind a frame: %w", noEnd(err))
		}
		c.left -= int64(n)
		if err := take(piece[:n]); err != nil {
			return err
		}
	}
	return nil
}

// bytes is raw, all of it.
func (c *conn) bytes(most int64) (data []byte, err error) {
	data = make([]byte, 0, min(c.left, maxPiece, max(most, 0)))
	err = c.raw(most, func(p []byte) error { data = append(data, p...); return nil })
	return data, err
}

// send writes a frame with its raw bytes.
func (c *conn) send(h header, raw []byte) error {
	h.Bytes = int64(len(raw))
	text, err := strictjson.Marshal(h)
	if err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	if len(text) > maxHeader {
		return fmt.Errorf("writing a frame: its header has %d bytes, at most %d are allowed", len(text), maxHeader)
	}
	c.out.Lock()
	defer c.out.Unlock()
	c.buf = append(binary.BigEndian.AppendUint32(c.buf[:0], uint32(len(text))), text...)
	if len(raw) <= pieceBytes { // in one piece with its header
		c.buf, raw = append(c.buf, raw...), nil
	}
	for _, part := range [][]byte{c.buf, raw} {
		for piece := range slices.Chunk(part, maxHeader+pieceBytes+4) {
			if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
				return err
			}
			if _, err := c.Write(piece); err != nil {
				return fmt.Errorf("writing a frame: %w", err)
			}
		}
	}
	return nil
}

// finish ends a stream after the last frame: the other end may still read what
// was written. What it still writes is thrown away, up to a limit and a time.
func (c *conn) finish(within time.Duration) {
	if c.CloseWrite() == nil {
		if c.listened != nil {
			select {
			case <-c.listened:
			case <-time.After(within):
			}
		} else if c.SetReadDeadline(time.Now().Add(within)) == nil {
			_, _ = io.CopyN(io.Discard, c.in, 2*maxPiece) // whatever ends it
		}
	}
	_ = c.Close() // nothing more is said on it
}
