package updates

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/network/frame"
	"phase/appliance/release/operator"
)

// Protocol is a stream on which an admin of a node gives it one order: a frame of
// the node with a challenge behind it, one with the envelope of an operator.Order
// that answers it, and one of the node with an operator.Answer.
// docs/streams.md describes it.
const Protocol = "/phase/update/1.0.0"

const (
	dialTime   = 15 * time.Second // a peer behind a NAT is reached over a relay first
	pieceTime  = 10 * time.Second
	answerTime = 30 * time.Second // a check asks all providers
	maxStreams = 8                // at once: admins are few
)

// head is the header of all frames. Behind it come Size bytes.
type head struct {
	Type string `json:"type"` // challenge, order or answer
	Size int64  `json:"size"`
}

// Raw is the size of what follows.
func (h *head) Raw() int64 { return h.Size }

const (
	typeChallenge = "challenge"
	typeOrder     = "order"
	typeAnswer    = "answer"
)

// Server answers the streams of admins.
type Server struct {
	Socket string          // of update
	Admins map[string]bool // peer ids; update checks who has signed by itself

	mu   sync.Mutex
	open int
}

// Handle answers one stream of a peer, whose id the transport has proved.
func (s *Server) Handle(ctx context.Context, peerID string, stream frame.Stream) {
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() }) // the end either way
	defer stop()
	if !s.enter() {
		_ = stream.Reset()
		return
	}
	defer s.leave()
	c := frame.New(stream, pieceTime)
	a, err := s.answer(ctx, peerID, c)
	if err == nil {
		var data []byte
		if data, err = strictjson.Marshal(a); err == nil {
			err = c.Send(head{typeAnswer, int64(len(data))}, data)
		}
	}
	if err != nil {
		slog.Debug("a stream for updates ended before its time", "peer", peerID, "error", err)
		_ = stream.Reset()
		return
	}
	c.Finish(time.Second)
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= maxStreams {
		return false
	}
	s.open++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// answer reads an order, once it has a challenge for it, and has update answer it.
// Of a peer that is no admin nothing is read.
func (s *Server) answer(ctx context.Context, peerID string, c *frame.Conn) (a operator.Answer, err error) {
	if !s.Admins[peerID] {
		a.Refused = operator.Refusef(operator.NotAuthorized, "%s is no admin of this node; its admins are set when it is flashed (phase.admin=PEER,…)", peerID)
		return a, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pieceTime+answerTime)
	defer cancel()
	if a = ask(ctx, s.Socket, operator.Question{Do: operator.Challenge}); a.Refused != nil {
		return a, nil
	}
	if err := c.Send(head{typeChallenge, int64(len(a.Challenge))}, a.Challenge); err != nil {
		return a, err
	}
	var h head
	if err := c.Next(&h, pieceTime); err != nil {
		return a, err
	}
	if h.Type != typeOrder {
		return a, fmt.Errorf("%w: a frame %.40q where an order belongs", frame.ErrProtocol, h.Type)
	}
	order, err := c.Bytes(operator.MaxOrder)
	if err != nil {
		return a, err
	}
	return ask(ctx, s.Socket, operator.Question{Order: order}), nil
}

// Client gives orders to other nodes, in the name of this one's identity.
type Client struct {
	// Dial opens a stream to a peer.
	Dial func(ctx context.Context, peerID, protocol string) (frame.Stream, error)
	// Sign is the identity that the other nodes know as their admin.
	Sign func(payloadType string, payload []byte) ([]byte, error)
	// Self is its peer id.
	Self string
}

// Do has a node do something. The error is a *operator.Refused when the node has
// answered so.
func (c *Client) Do(ctx context.Context, on string, q operator.Question) (operator.Answer, error) {
	dialling, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	stream, err := c.Dial(dialling, on, Protocol)
	if err != nil {
		return operator.Answer{}, err
	}
	defer stream.Reset()
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	a, err := c.give(frame.New(stream, pieceTime), operator.Order{Node: on, Do: q.Do, Release: q.Release, Disk: q.Disk, Erase: q.Erase})
	if err == nil && a.Refused != nil {
		err = a.Refused
	}
	return a, err
}

// give answers the challenge of a node by an order, and reads what comes of it. A
// node that refuses at once gives no challenge.
func (c *Client) give(conn *frame.Conn, order operator.Order) (a operator.Answer, err error) {
	var h head
	if err := conn.Next(&h, answerTime); err != nil {
		return a, fmt.Errorf("waiting for its challenge: %w", err)
	}
	if h.Type == typeChallenge {
		if order.Challenge, err = conn.Bytes(operator.ChallengeBytes); err != nil {
			return a, fmt.Errorf("reading its challenge: %w", err)
		}
		if n := len(order.Challenge); n != operator.ChallengeBytes {
			return a, fmt.Errorf("its challenge has %d bytes, want %d", n, operator.ChallengeBytes)
		}
		signed, err := order.Sign(c.Sign)
		if err != nil {
			return a, err
		}
		if err = conn.Send(head{typeOrder, int64(len(signed))}, signed); err == nil {
			err = conn.CloseWrite()
		}
		if err != nil {
			return a, fmt.Errorf("giving the order: %w", err)
		}
		if err := conn.Next(&h, answerTime+pieceTime); err != nil {
			return a, fmt.Errorf("waiting for its answer: %w", err)
		}
	}
	if h.Type != typeAnswer {
		return a, fmt.Errorf("%w: a frame %.40q where an answer belongs", frame.ErrProtocol, h.Type)
	}
	data, err := conn.Bytes(operator.MaxAnswer)
	if err == nil {
		err = strictjson.Unmarshal(data, &a, strictjson.Limit(operator.MaxAnswer))
	}
	if err != nil {
		return a, fmt.Errorf("reading its answer: %w", err)
	}
	return a, nil
}
