package remote

import (
	"context"
	"errors"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/history"
	"phase/appliance/compute/scheduler"
)

// find returns the live session that a frame names by run_id or nonce, if it is
// one of this peer's.
func (s *Server) find(peerID string, h header) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.RunID != "" {
		return s.live[runKey(peerID, h.RunID)]
	}
	return s.live[nonceKey(peerID, h.Nonce)]
}

// recorded returns the run that a frame names by run_id or nonce. A run of
// another requester is as unknown as one that never was.
func (s *Server) recorded(peerID string, h header) (e history.Entry, err error) {
	if h.RunID != "" {
		e, err = s.History.Get(h.RunID)
	} else {
		var nonce []byte
		if nonce, err = strictjson.Base64(h.Nonce); err != nil {
			return e, history.ErrUnknown
		}
		e, err = s.History.Find(nonce)
	}
	if err == nil && e.Requester != requester(peerID) {
		return history.Entry{}, history.ErrUnknown
	}
	return e, err
}

const unknownRun = "there is no such run of yours here, or it has given way to newer ones"

// lookup answers with what became of a run, once it has ended.
func (s *Server) lookup(ctx context.Context, peerID string, c *conn, h header) error {
	if x := s.find(peerID, h); x != nil {
		if err := x.await(ctx, c); err != nil {
			return err
		}
	}
	e, err := s.recorded(peerID, h)
	switch {
	case errors.Is(err, history.ErrUnknown):
		return c.send(header{Type: typeUnknown, Detail: unknownRun}, nil)
	case err != nil:
		return err
	case e.State == history.Done:
		done := scheduler.Done{JobID: e.JobID, RunID: e.RunID, Receipt: e.Receipt}
		done.ExitCode, done.Outcome = *e.ExitCode, *e.Outcome
		return c.send(result(done), e.Receipt)
	}
	return c.send(header{Type: typeFailed, RunID: e.RunID, Detail: "the run is " + string(e.State) + ": " + e.Detail}, nil)
}

// await waits for the end of a session, and says all the while that it is still
// there.
func (x *session) await(ctx context.Context, c *conn) error {
	defer x.watch()()
	ticker := time.NewTicker(x.server.times.Beat)
	defer ticker.Stop()
	for {
		if err := c.send(header{Type: typeAlive}, nil); err != nil {
			return err
		}
		select {
		case <-x.over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// cancel ends a run that waits or runs.
func (s *Server) cancel(peerID string, c *conn, h header) error {
	if x := s.find(peerID, h); x != nil {
		x.cancel(scheduler.ErrCancelled)
		return c.send(header{Type: typeCancelled, RunID: x.place.RunID()}, nil)
	}
	return c.send(header{Type: typeUnknown, Detail: unknownRun + ", or it is over"}, nil)
}
