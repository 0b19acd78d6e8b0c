package remote

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/wasm"
	"phase/appliance/network/frame"
)

// MaxStdin is the largest input of a job in bytes, unless it is streamed.
const MaxStdin = 64 << 20

// offer answers an offer: it is rejected, or accepted and run.
func (s *Server) offer(ctx context.Context, peerID string, c *conn, h header) error {
	c.Limit = time.Now().Add(s.times.Sending)
	x := &session{server: s, peer: peerID, c: c, offer: h, over: make(chan struct{}), asks: make(chan string, 2)}
	err := s.judge(x)
	if x.place != nil {
		x.leave = sync.OnceFunc(x.place.Leave)
		defer x.leave()
	}
	if err == nil {
		x.ctx, x.cancel = context.WithCancelCause(ctx)
		defer x.cancel(nil)
		err = s.begin(x)
	}
	if err != nil {
		return s.rejected(c, peerID, err)
	}
	x.forget = sync.OnceFunc(func() { s.end(x) })
	defer x.forget()
	s.count(func(t *Stats) { t.Accepted++ })
	return x.run()
}

// judge reads an offer and takes a place for it. What cannot be run is refused
// before any of its module or its input is sent.
func (s *Server) judge(x *session) (err error) {
	h := x.offer
	if err := checkExpiry(h.Expires, time.Now()); err != nil {
		return err
	}
	runtime, _ := wasm.Runtime()
	switch {
	case h.Arch != "" && h.Arch != s.Arch:
		return reject(scheduler.ArchMismatch, "arch: %.20q is asked for, this node is %s", h.Arch, s.Arch)
	case h.Runtime != "" && h.Runtime != runtime:
		return reject(scheduler.RuntimeNotSupported, "runtime: %.20q is asked for, this node has %s", h.Runtime, runtime)
	case h.Profile != "" && h.Profile != wasm.Profile:
		return reject(scheduler.RuntimeNotSupported, "profile: %.20q is asked for, this node has %s", h.Profile, wasm.Profile)
	case h.ModuleSize < 0 || h.ModuleSize > wasm.MaxModule:
		return reject(scheduler.InvalidRequest, "module_size: a module of %d bytes, at most %d are allowed", h.ModuleSize, wasm.MaxModule)
	case h.StdinSize != nil && (*h.StdinSize < 0 || *h.StdinSize > MaxStdin):
		return reject(scheduler.InvalidRequest, "stdin_size: an input of %d bytes, at most %d are allowed unless it is streamed", *h.StdinSize, MaxStdin)
	}
	if x.place, err = s.Runs.Enter(requester(x.peer)); err != nil {
		return err
	}
	file, err := x.keep(nil, strictjson.MaxBytes+frame.Piece)
	if err != nil {
		return err
	}
	if h.JobSize != 0 {
		if h.JobSize < 0 || h.StdinSize == nil || h.JobSize+*h.StdinSize != int64(len(file)) {
			return reject(scheduler.InvalidRequest, "job_size: %d bytes came, which are not the job file and the input behind it", len(file))
		}
		file, x.stdin = file[:h.JobSize], file[h.JobSize:]
	}
	if x.spec, err = job.Parse(file); err != nil {
		return reject(scheduler.InvalidRequest, "%v", err)
	}
	if h.StdinSize == nil && x.spec.Job().StdinHash != "" {
		return reject(scheduler.InvalidRequest, "stdin_size: the input of a job that names its digest is sent before it runs, and has a size")
	}
	if err := x.place.Check(x.spec, h.Nonce); err != nil {
		return err
	}
	digest, err := names.ParseDigest(x.spec.Job().ModuleHash)
	if err == nil {
		x.module, err = x.place.Module(digest)
	}
	return err
}

// checkExpiry refuses an offer that has expired or is valid for too long. The
// error is a *scheduler.Rejection.
func checkExpiry(expires, now time.Time) error {
	switch {
	case expires.IsZero():
		return reject(scheduler.InvalidRequest, "expires: is missing")
	case !expires.After(now):
		return reject(scheduler.InvalidRequest, "expires: the offer expired at %s, and it is %s here; if it is new, compare the clocks of both nodes",
			expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case expires.Sub(now) > maxValidity:
		return reject(scheduler.InvalidRequest, "expires: the offer is valid until %s, at most %v from now are allowed, and it is %s here; compare the clocks of both nodes",
			expires.UTC().Format(time.RFC3339), maxValidity, now.UTC().Format(time.RFC3339))
	}
	return nil
}

// nonceKey names the live session of an offer: one nonce, however it is spelled.
func nonceKey(peerID, nonce string) string {
	raw, err := strictjson.Base64(nonce)
	if err != nil {
		return ""
	}
	return "nonce " + hex.EncodeToString(raw) + " " + peerID
}

func runKey(peerID, runID string) string { return "run " + runID + " " + peerID }

// begin makes a session known to lookups. The error is a *scheduler.Rejection.
func (s *Server) begin(x *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	byNonce := nonceKey(x.peer, x.offer.Nonce)
	if s.live[byNonce] != nil {
		return reject(scheduler.InvalidRequest, "offer_nonce: this offer is being run already; choose another nonce")
	}
	s.live[byNonce], s.live[runKey(x.peer, x.place.RunID())] = x, x
	return nil
}

// end forgets a session; those who look it up find the run in the history.
func (s *Server) end(x *session) {
	s.mu.Lock()
	delete(s.live, nonceKey(x.peer, x.offer.Nonce))
	delete(s.live, runKey(x.peer, x.place.RunID()))
	s.mu.Unlock()
	close(x.over)
	x.stopGrace()
}

// receive reads the module, if it is needed, and the input, if it is not
// streamed. No more of them is kept than there is room for.
func (x *session) receive() error {
	err := x.receiveAll()
	if errors.Is(err, os.ErrDeadlineExceeded) && !x.c.Limit.IsZero() && !time.Now().Before(x.c.Limit) {
		err = reject(scheduler.InvalidRequest, "the module and the input took longer than %v to come", x.server.times.Sending)
	}
	x.c.Limit = time.Time{}
	return err
}

func (x *session) receiveAll() error {
	if x.module == nil {
		h, err := x.next(typeModule)
		if err != nil {
			return err
		}
		if h.Bytes != x.offer.ModuleSize {
			return reject(scheduler.InvalidRequest, "module_size: %d bytes were offered and %d come", x.offer.ModuleSize, h.Bytes)
		}
		data, err := x.keep(nil, h.Bytes)
		if err != nil {
			return err
		}
		x.module = modulecache.NewModule(data)
	}
	if err := x.spec.AcceptHash(x.module.Digest().String(), nil); errors.Is(err, job.ErrModule) {
		return reject(scheduler.InvalidRequest, "%v", err)
	}
	if x.offer.StdinSize == nil {
		x.input = newInput()
		return nil
	}
	for last := *x.offer.StdinSize == 0 || x.offer.JobSize != 0; !last; {
		h, err := x.next(typeInput)
		if err != nil {
			return err
		}
		if x.stdin, err = x.keep(x.stdin, min(maxPiece, *x.offer.StdinSize-int64(len(x.stdin)))); err != nil {
			return err
		}
		last = h.Last
	}
	if int64(len(x.stdin)) != *x.offer.StdinSize {
		return reject(scheduler.InvalidRequest, "stdin_size: %d bytes were offered and %d came", *x.offer.StdinSize, len(x.stdin))
	}
	return nil
}

// next is the next frame but signs of life; it has to be of a type.
func (x *session) next(wanted string) (header, error) {
	for {
		h, err := x.c.next(x.server.times.Silence)
		switch {
		case err != nil:
			return h, err
		case h.Type == wanted:
			return h, nil
		case h.Type == typeCancel:
			return h, scheduler.ErrCancelled
		case h.Type != typeAlive:
			return h, unexpected(h, wanted)
		}
	}
}

// keep appends the raw bytes of a frame, at most most.
func (x *session) keep(data []byte, most int64) ([]byte, error) {
	err := x.c.Take(most, func(piece []byte) error {
		if err := x.place.Hold(int64(len(piece))); err != nil {
			return err
		}
		data = append(data, piece...)
		return nil
	})
	return data, err
}
