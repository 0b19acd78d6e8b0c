package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/capability"
	"phase/appliance/network/frame"
)

// Config is what a node runs jobs for others with.
type Config struct {
	Runs    *scheduler.Scheduler
	History *history.History // that of Runs
	Accept  Accept
	PeerID  string             // of this node
	Arch    string             // of this node: x86_64 or arm64
	Release capability.Release // that this node has booted; the zero value is none
	// Failed are the releases that did not come up on this node; may be nil.
	Failed func() []capability.Failed
	// Sign wraps a payload in an envelope that this node signs (identity.Identity).
	Sign func(payloadType string, payload []byte) ([]byte, error)
	// The most streams open at once, of one peer and of all whose jobs are
	// accepted; 0 is 16 and 128.
	PeerStreams, Streams int
	Times                Times
}

// Server answers the streams that other nodes open to this one. It is safe for
// concurrent use.
type Server struct {
	Config
	times Times
	pin   receipt.Pin // this node's

	mu     sync.Mutex
	by     map[string]int // open streams, of each peer
	open   int            // …of all
	turned int            // streams that are being turned away
	asking map[string]int // streams that ask for the capabilities, by peer
	asked  int            // all of them
	live   map[string]*session
	stats  Stats
	record capability.Record // the newest that was signed
	signed []byte
}

// Stats count what happened on the streams of a server since it was made.
type Stats struct {
	Streams  int                         // open now
	Accepted uint64                      // offers
	Rejected map[scheduler.Reason]uint64 // offers, by reason
	Failed   uint64                      // offers that were accepted and have no receipt, of streams that are whole
	Broken   uint64                      // streams that ended before their time
	Garbled  uint64                      // streams that did not speak the protocol
	Dropped  uint64                      // streams that were reset unanswered, there being too many
}

// NewServer returns a server of the node whose peer id the configuration names.
func NewServer(c Config) (*Server, error) {
	pin, err := pinOf(c.PeerID)
	if err != nil {
		return nil, err
	}
	c.PeerStreams, c.Streams = cmp.Or(c.PeerStreams, 16), cmp.Or(c.Streams, 128)
	return &Server{
		Config: c, times: c.Times.orDefault(), pin: pin, by: map[string]int{}, asking: map[string]int{}, live: map[string]*session{},
		stats: Stats{Rejected: map[scheduler.Reason]uint64{}},
	}, nil
}

// pinOf is the only node whose receipts count, by its peer id.
func pinOf(peerID string) (receipt.Pin, error) {
	key, err := identity.ParsePeerID(peerID)
	return receipt.Pin{PeerID: peerID, Key: key}, err
}

// Stats returns the counts of this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stats
	now.Streams, now.Rejected = s.open, maps.Clone(now.Rejected)
	return now
}

// Counts returns what came of the streams: of offers by "accepted", "failed" and
// the reasons for which they are rejected, of others by "broken", "garbled" and
// "dropped". See Stats.
func (s *Server) Counts() map[string]uint64 {
	now := s.Stats()
	counts := map[string]uint64{"accepted": now.Accepted, "failed": now.Failed, "broken": now.Broken, "garbled": now.Garbled, "dropped": now.Dropped}
	for reason, n := range now.Rejected {
		counts[string(reason)] = n
	}
	return counts
}

func (s *Server) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// requester is the name under which a peer's jobs run.
func requester(peerID string) string { return "peer " + peerID }

func reject(reason scheduler.Reason, format string, args ...any) error {
	return &scheduler.Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// How many streams are answered at once that are turned away, and that ask for
// the capabilities; more are reset. One peer may ask on a few, and half of them are
// for those whose jobs are accepted, so that a crowd that only begins to ask does
// not hide the node from them.
const (
	maxTurned    = 32
	maxAsking    = 64
	askingOfPeer = 4
)

// ask counts a stream in that asks for the capabilities; false when there is no
// room for it.
func (s *Server) ask(peerID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := maxAsking / 2
	if s.Accept.Allows(peerID) {
		most = maxAsking
	}
	if s.asked >= most || s.asking[peerID] >= askingOfPeer {
		s.stats.Dropped++
		return false
	}
	s.asked++
	s.asking[peerID]++
	return true
}

// answered counts it out.
func (s *Server) answered(peerID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked--
	if s.asking[peerID]--; s.asking[peerID] == 0 {
		delete(s.asking, peerID)
	}
}

// enter counts a stream in. The error is a *scheduler.Rejection.
func (s *Server) enter(peerID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.Accept.Allows(peerID):
		return reject(scheduler.NotAuthorized, "this node runs no jobs of %s; its owner names who may ask with --accept", peerID)
	case s.by[peerID] >= s.PeerStreams:
		return reject(scheduler.QueueFull, "%d streams of yours are open, which is all one peer may have; try again when one has ended", s.by[peerID])
	case s.open >= s.Streams:
		return reject(scheduler.QueueFull, "%d streams are open, which is all there is room for; try again later", s.open)
	}
	s.open++
	s.by[peerID]++
	return nil
}

func (s *Server) leave(peerID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.by[peerID]--; s.by[peerID] == 0 {
		delete(s.by, peerID)
	}
}

// Job answers one stream of JobProtocol that a peer opened, and returns when it
// has ended. The transport has proved the peer id. When ctx ends, so does the
// stream.
func (s *Server) Job(ctx context.Context, peerID string, stream frame.Stream) {
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() }) // the end either way
	defer stop()
	c := newConn(stream, s.times.Piece)
	if err := s.enter(peerID); err != nil {
		s.turnAway(c, peerID, err)
		return
	}
	defer s.leave(peerID)
	if err := s.serve(ctx, peerID, c); err != nil {
		slog.Info("a stream of a peer ended before its time", "peer", peerID, "error", err)
		s.count(func(t *Stats) {
			if errors.Is(err, frame.ErrProtocol) {
				t.Garbled++
			} else {
				t.Broken++
			}
		})
		_ = stream.Reset()
		return
	}
	c.Finish(s.times.First)
}

// turnAway answers a stream of which nothing is read.
func (s *Server) turnAway(c *conn, peerID string, why error) {
	s.mu.Lock()
	full := s.turned >= maxTurned
	if full {
		s.stats.Dropped++
	} else {
		s.turned++
	}
	s.mu.Unlock()
	if full {
		_ = c.Reset()
		return
	}
	defer func() {
		s.mu.Lock()
		s.turned--
		s.mu.Unlock()
	}()
	if err := s.rejected(c, peerID, why); err != nil {
		_ = c.Reset()
		return
	}
	c.Finish(time.Second)
}

// rejected answers with the error's reason. An error that is no rejection is
// returned: it has no answer.
func (s *Server) rejected(c *conn, peerID string, err error) error {
	var r *scheduler.Rejection
	if !errors.As(err, &r) {
		return err
	}
	slog.Debug("an offer is rejected", "peer", peerID, "reason", r.Reason, "detail", r.Detail)
	s.count(func(t *Stats) { t.Rejected[r.Reason]++ })
	return c.send(header{Type: typeRejected, Reason: string(r.Reason), Detail: r.Detail}, nil)
}

// serve answers a stream's first frame.
func (s *Server) serve(ctx context.Context, peerID string, c *conn) error {
	h, err := c.next(s.times.First)
	if err != nil {
		return fmt.Errorf("waiting for the first frame: %w", err)
	}
	switch h.Type {
	case typeOffer:
		return s.offer(ctx, peerID, c, h)
	case typeLookup:
		return s.lookup(ctx, peerID, c, h)
	case typeCancel:
		return s.cancel(peerID, c, h)
	}
	return unexpected(h, "offer, lookup or cancel")
}
