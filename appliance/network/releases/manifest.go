package releases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/network/frame"
	"phase/appliance/release/record"
)

// ManifestProtocol is a stream on which a peer is asked for the record of a line
// of releases that it holds and provides. Both ends send one frame: a big-endian
// uint32 with the length of a JSON header, the header, of at most 64 KiB, and
// the raw bytes that the header names. docs/network.md describes it.
const ManifestProtocol = "/phase/manifest/1.0.0"

const (
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

// Raw is none.
func (*question) Raw() int64 { return 0 }

// answer is the header of an answer; behind it come Size bytes, the record.
type answer struct {
	Code      string   `json:"code,omitempty"` // "" when there is a record
	Detail    string   `json:"detail,omitempty"`
	Size      int64    `json:"size,omitempty"`
	HTTPPorts []uint16 `json:"http_ports,omitempty"` // where the peer serves HTTP, at the addresses it is reached by
}

// Raw is the size of the record.
func (a *answer) Raw() int64 { return a.Size }

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
	c := frame.New(s, askTime)
	if err := c.Send(question(key), nil); err != nil {
		return got, nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return got, nil, err
	}
	var a answer
	if err := c.Next(&a, askTime); err != nil {
		return got, nil, err
	}
	switch {
	case a.Code == notFound:
		return got, nil, ErrNotHeld
	case a.Code != "":
		return got, nil, fmt.Errorf("it refused: %.40s: %.200q", a.Code, a.Detail)
	case len(a.HTTPPorts) > maxPorts:
		return got, nil, fmt.Errorf("it names %d ports, at most %d", len(a.HTTPPorts), maxPorts)
	}
	value, err := c.Bytes(record.MaxBytes)
	if err != nil {
		return got, nil, err
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
	late := time.AfterFunc(2*askTime, func() { _ = s.Reset() })
	defer late.Stop()
	if err := r.respond(s); err != nil {
		slog.Debug("releases", "event", "asked", "peer", from, "error", err)
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (r *Releases) respond(s network.Stream) error {
	c := frame.New(s, askTime)
	var q question
	if err := c.Next(&q, askTime); err != nil {
		return err
	}
	key := record.Key(q)
	if err := key.Check(); err != nil {
		return c.Send(answer{Code: invalidRequest, Detail: err.Error()}, nil)
	}
	held, ok := r.holds(key)
	if !ok {
		return c.Send(answer{Code: notFound, Detail: "no release of " + key.String() + " is held"}, nil)
	}
	value := held.Value()
	a := answer{Size: int64(len(value))}
	if r.config.Ports != nil {
		a.HTTPPorts = r.config.Ports()
	}
	return c.Send(a, value)
}
