package releases

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/strictjson"
	"phase/appliance/release/record"
)

// ManifestProtocol is a stream on which a peer is asked for the record of a line
// of releases that it holds and provides. Both ends send one frame: a big-endian
// uint32 with the length of a JSON header, the header, of at most 64 KiB, and
// the raw bytes that the header names. docs/network.md describes it.
const ManifestProtocol = "/phase/manifest/1.0.0"

const (
	maxHeader = 64 << 10
	// askTime is what a question may take at either end, from the stream to the
	// last byte.
	askTime   = 5 * time.Second
	maxAsking = 64 // streams of others at once
	askOfPeer = 8
	maxPorts  = 8
)

// question is the header of a question.
type question struct {
	Fleet   string `json:"fleet"`
	Channel string `json:"channel"`
	Arch    string `json:"arch"`
}

// answer is the header of an answer; behind it come Size bytes, the record.
type answer struct {
	Code      string   `json:"code,omitempty"` // "" when there is a record
	Detail    string   `json:"detail,omitempty"`
	Size      int      `json:"size,omitempty"`
	HTTPPorts []uint16 `json:"http_ports,omitempty"` // where the peer serves HTTP, at the addresses it is reached by
}

// Codes of an answer without a record.
const (
	notFound       = "NotFound"
	invalidRequest = "InvalidRequest"
)

// ErrNotHeld says that a peer was asked, and holds no release of that line.
var ErrNotHeld = errors.New("it holds none")

// ask asks one peer, which must be connected, for the record of key. What it
// answers is checked against the key, as any record.
func (r *Releases) ask(ctx context.Context, to peer.ID, key record.Key) (record.Record, []uint16, error) {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "manifest"), askTime)
	defer cancel()
	s, err := r.config.Host.NewStream(ctx, to, ManifestProtocol)
	if err != nil {
		return record.Record{}, nil, fmt.Errorf("asking peer %s for its manifest: %w", to, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	defer s.Reset()
	got, ports, err := exchange(s, key, r.config.Now())
	switch {
	case ctx.Err() != nil:
		return got, nil, fmt.Errorf("asking peer %s for its manifest: no answer within %v", to, askTime)
	case err != nil:
		return got, nil, fmt.Errorf("asking peer %s for its manifest: %w", to, err)
	}
	return got, ports, nil
}

func exchange(s network.Stream, key record.Key, now time.Time) (got record.Record, ports []uint16, err error) {
	if err := writeFrame(s, question(key), nil); err != nil {
		return got, nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return got, nil, err
	}
	var a answer
	if err := readHeader(s, &a); err != nil {
		return got, nil, err
	}
	switch {
	case a.Code == notFound:
		return got, nil, ErrNotHeld
	case a.Code != "":
		return got, nil, fmt.Errorf("it refused: %.40s: %.200q", a.Code, a.Detail)
	case a.Size < 1 || a.Size > record.MaxBytes:
		return got, nil, fmt.Errorf("it offers a record of %d bytes, at most %d", a.Size, record.MaxBytes)
	case len(a.HTTPPorts) > maxPorts:
		return got, nil, fmt.Errorf("it names %d ports, at most %d", len(a.HTTPPorts), maxPorts)
	}
	value := make([]byte, a.Size)
	if _, err := io.ReadFull(s, value); err != nil {
		return got, nil, fmt.Errorf("reading the record: %w", err)
	}
	got, err = record.Parse(key, value, now)
	return got, a.HTTPPorts, err
}

// handle answers one question.
func (r *Releases) handle(s network.Stream) {
	from := s.Conn().RemotePeer()
	if !r.streams.Enter(from) {
		_ = s.Reset()
		return
	}
	defer r.streams.Leave(from)
	if err := s.SetDeadline(time.Now().Add(askTime)); err != nil {
		slog.Debug("releases", "event", "asked", "peer", from, "error", err)
	}
	if err := r.respond(s); err != nil {
		slog.Debug("releases", "event", "asked", "peer", from, "error", err)
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (r *Releases) respond(s network.Stream) error {
	var q question
	if err := readHeader(s, &q); err != nil {
		return err
	}
	key := record.Key(q)
	if err := key.Check(); err != nil {
		return writeFrame(s, answer{Code: invalidRequest, Detail: err.Error()}, nil)
	}
	held, ok := r.holds(key)
	if !ok {
		return writeFrame(s, answer{Code: notFound, Detail: "no release of " + key.String() + " is held"}, nil)
	}
	a := answer{Size: len(held.Value())}
	if r.config.Ports != nil {
		a.HTTPPorts = r.config.Ports()
	}
	return writeFrame(s, a, held.Value())
}

// readHeader reads the length of a header and the header itself.
func readHeader(from io.Reader, into any) error {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return fmt.Errorf("reading a header: %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxHeader {
		return fmt.Errorf("a header of %d bytes, at most %d", n, maxHeader)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(from, data); err != nil {
		return fmt.Errorf("reading a header: %w", err)
	}
	if err := strictjson.Unmarshal(data, into, strictjson.Limit(maxHeader)); err != nil {
		return fmt.Errorf("reading a header: %w", err)
	}
	return nil
}

// writeFrame writes a header and what comes behind it.
func writeFrame(to io.Writer, header any, raw []byte) error {
	text, err := strictjson.Marshal(header)
	if err != nil {
		return err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)+len(raw)), uint32(len(text)))
	_, err = to.Write(append(append(frame, text...), raw...))
	return err
}
