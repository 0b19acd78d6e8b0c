// Package frame reads and writes what the streams between nodes are made of:
// frames, each a big-endian uint32, a JSON header of that many bytes (at most
// 64 KiB), and as many raw bytes behind it as the header says. Every wait has an
// end, and every size a cap. docs/streams.md describes the wire.
package frame

import (
	"bufio"
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

const (
	// MaxHeader is the most bytes a header may have.
	MaxHeader = 64 << 10
	// Piece is how many raw bytes are read at once, and the most that are written
	// behind one header where they can be divided.
	Piece = 64 << 10
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

// Header is what a JSON header is decoded into, a pointer. Raw is how many raw
// bytes follow it.
type Header interface{ Raw() int64 }

// ErrProtocol is in the error of what is not spoken here: a frame that is too
// large, is no JSON or comes at the wrong time.
var ErrProtocol = errors.New("the other end does not speak the protocol")

// read reads one header. At the clean end of the stream the error is io.EOF.
func read(r io.Reader, h Header) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > MaxHeader {
		return fmt.Errorf("%w: a header of %d bytes, 1 to %d are allowed", ErrProtocol, n, MaxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("reading a header: %w", noEnd(err))
	}
	if err := strictjson.Unmarshal(text, h, strictjson.Limit(MaxHeader)); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if h.Raw() < 0 {
		return fmt.Errorf("%w: a header with less than no bytes behind it", ErrProtocol)
	}
	return nil
}

// noEnd is an error of reading where there may be no end.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Conn is a stream that frames are read from by one goroutine and written to by
// several.
type Conn struct {
	Stream
	// Listened is set where a goroutine reads until the end, and is closed when
	// that has ended.
	Listened chan struct{}
	// Limit is when all that is read has to have come, however steadily; the zero
	// value is never.
	Limit time.Time

	in       *bufio.Reader
	patience time.Duration
	left     int64 // of the raw bytes behind the last header

	out sync.Mutex
	buf []byte
}

// New returns a stream as one of frames. Patience is how long a piece may take
// to be read or written.
func New(s Stream, patience time.Duration) *Conn {
	return &Conn{Stream: s, in: bufio.NewReaderSize(s, 8<<10), patience: patience}
}

// Next reads the next header, which has to come within a time. The raw bytes
// behind the last one have been read. At the clean end of the stream the error
// is io.EOF itself.
func (c *Conn) Next(h Header, within time.Duration) error {
	if c.left != 0 {
		return fmt.Errorf("%w: %d bytes behind a frame that has none", ErrProtocol, c.left)
	}
	if err := c.await(within); err != nil {
		return err
	}
	err := read(c.in, h)
	switch {
	case err == nil:
		c.left = h.Raw()
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("nothing came for %v: %w", within.Round(time.Millisecond), err)
	}
	return err
}

// await has what is read next come within a time.
func (c *Conn) await(within time.Duration) error {
	deadline := time.Now().Add(within)
	if !c.Limit.IsZero() && c.Limit.Before(deadline) {
		deadline = c.Limit
	}
	return c.SetReadDeadline(deadline)
}

// Left is how many raw bytes behind the last header have not been read.
func (c *Conn) Left() int64 { return c.left }

// Take reads the raw bytes behind the last header, at most most, piece by piece;
// take gets each piece, which it may not keep.
func (c *Conn) Take(most int64, take func([]byte) error) error {
	if c.left > most {
		return fmt.Errorf("%w: %d bytes behind a frame, at most %d are allowed", ErrProtocol, c.left, most)
	}
	piece := make([]byte, min(c.left, Piece))
	for c.left > 0 {
		if err := c.await(c.patience); err != nil {
			return err
		}
		n, err := io.ReadFull(c.in, piece[:min(c.left, Piece)])
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

// Bytes is Take, all of it. What was only announced takes no memory yet.
func (c *Conn) Bytes(most int64) (data []byte, err error) {
	data = make([]byte, 0, min(c.left, Piece, max(most, 0)))
	err = c.Take(most, func(p []byte) error { data = append(data, p...); return nil })
	return data, err
}

// Send writes a frame. The header says how many raw bytes there are.
func (c *Conn) Send(h any, raw []byte) error {
	text, err := strictjson.Marshal(h)
	if err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	if len(text) > MaxHeader {
		return fmt.Errorf("writing a frame: its header has %d bytes, at most %d are allowed", len(text), MaxHeader)
	}
	c.out.Lock()
	defer c.out.Unlock()
	c.buf = append(binary.BigEndian.AppendUint32(c.buf[:0], uint32(len(text))), text...)
	if len(raw) <= Piece { // in one piece with its header
		c.buf, raw = append(c.buf, raw...), nil
	}
	for _, part := range [][]byte{c.buf, raw} {
		for piece := range slices.Chunk(part, 4+MaxHeader+Piece) {
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

// maxRest is how much is read and thrown away at the end of a stream.
const maxRest = 2 << 20

// Finish ends a stream after the last frame: the other end may still read what
// was written. What it still writes is thrown away, up to a limit and a time.
func (c *Conn) Finish(within time.Duration) {
	if c.CloseWrite() == nil {
		if c.Listened != nil {
			select {
			case <-c.Listened:
			case <-time.After(within):
			}
		} else if c.SetReadDeadline(time.Now().Add(within)) == nil {
			_, _ = io.CopyN(io.Discard, c.in, maxRest) // whatever ends it
		}
	}
	_ = c.Close() // nothing more is said on it
}
