package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/frame"
)

// session is an offer that was accepted, until it has ended.
type session struct {
	server *Server
	peer   string
	c      *conn
	offer  header
	place  *scheduler.Place
	leave  func() // gives the place back, once
	forget func() // ends the session, once: the run is in the history
	spec   job.Spec
	module *modulecache.Module
	stdin  []byte
	input  *input // nil where the input is not streamed
	ctx    context.Context
	cancel context.CancelCauseFunc

	over chan struct{} // closed when the run is recorded
	asks chan string   // what the requester asks to see of a result

	mu       sync.Mutex
	broken   error // why nothing more is sent or read, nil while something is
	watchers int   // lookups that wait for the end
	grace    *time.Timer
}

// errLeft is why a run ends whose requester has gone.
var errLeft = errors.New("the requester has gone and did not come back")

// run says that the offer is accepted, receives what it needs, and runs it. The
// error is why the stream ended before its time.
func (x *session) run() error {
	accepted := header{
		Type: typeAccepted, RunID: x.place.RunID(), JobID: x.spec.ID(), Module: moduleHeld,
		StartsMS: x.place.Wait(x.spec).Milliseconds(),
	}
	if x.module == nil {
		accepted.Module = moduleNeeded
	}
	if err := x.c.send(accepted, nil); err != nil {
		return err
	}
	beats := x.beat()
	defer beats()
	cut := context.AfterFunc(x.ctx, func() { _ = x.c.Reset() }) // it is cancelled while it is sent
	err := x.receive()
	if cut(); err != nil {
		return x.fail(err)
	}
	if x.input != nil {
		defer x.input.stop()
	}
	x.c.Listened = make(chan struct{})
	go func() {
		defer close(x.c.Listened)
		x.listen()
	}()
	done, kept, err := x.execute()
	if err != nil {
		return x.fail(err)
	}
	if x.offer.Commit {
		if whole, err := x.commit(done, kept); err != nil || !whole {
			return err
		}
	}
	x.leave()  // who has the receipt may send the next job
	x.forget() // …and finds that this one is over
	x.say(result(done), done.Receipt)
	return x.gone()
}

func result(done scheduler.Done) header {
	return header{Type: typeResult, RunID: done.RunID, JobID: done.JobID, ExitCode: &done.ExitCode, Outcome: done.Outcome}
}

// kept are the outputs of a run that commits before it shows them.
type kept struct{ stdout, stderr *store }

// execute takes the offer through the door.
func (x *session) execute() (scheduler.Done, kept, error) {
	o := scheduler.Offer{
		Spec: x.spec, Module: x.module, Stdin: x.stdin, Nonce: x.offer.Nonce,
		Stdout: output{x, typeStdout}, Stderr: output{x, typeStderr},
	}
	var k kept
	if x.offer.Commit {
		k = kept{&store{x: x}, &store{x: x}}
		o.Stdout, o.Stderr = k.stdout, k.stderr
	}
	if x.input != nil {
		x.input.ended = func() { x.say(header{Type: typeEnded}, nil) }
		x.input.patience = x.server.times.Input
		o.Input = x.input
	}
	done, err := x.place.Execute(x.ctx, o, scheduler.Watch{
		Running: func() { x.say(header{Type: typeRunning}, nil) },
	})
	var r *scheduler.Rejection
	if errors.As(context.Cause(x.ctx), &r) {
		err = r // it was ended for that
	}
	return done, k, err
}

// fail answers an offer that was accepted and did not run, or has no receipt.
func (x *session) fail(err error) error {
	var r *scheduler.Rejection
	switch {
	case x.gone() != nil:
		return x.gone()
	case errors.As(err, &r):
		return x.server.rejected(x.c, x.peer, err)
	case errors.Is(err, frame.ErrProtocol):
		return err
	}
	slog.Warn("a job of a peer has no receipt", "peer", x.peer, "run", x.place.RunID(), "error", err)
	x.server.count(func(t *Stats) { t.Failed++ })
	return x.c.send(header{Type: typeFailed, RunID: x.place.RunID(), Detail: err.Error()}, nil)
}

// say sends a frame while the stream is whole.
func (x *session) say(h header, raw []byte) {
	if x.gone() != nil {
		return
	}
	if err := x.c.send(h, raw); err != nil {
		x.lose(err)
	}
}

// gone is why the stream has broken, nil while it has not.
func (x *session) gone() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.broken
}

// lose notes that the stream has broken. The run goes on for a while, so that
// its receipt can be looked up, unless it waits for input that cannot come.
func (x *session) lose(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken != nil {
		return
	}
	x.broken = err
	_ = x.c.Reset()
	if x.input != nil && x.input.fail() {
		x.cancel(fmt.Errorf("%w: %w", errLeft, err))
		return
	}
	x.startGrace()
}

// startGrace starts the time after which a run ends that nobody asks for. The
// caller holds the lock.
func (x *session) startGrace() {
	if x.watchers == 0 {
		x.grace = time.AfterFunc(x.server.times.Grace, func() { x.cancel(errLeft) })
	}
}

func (x *session) stopGrace() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.grace != nil {
		x.grace.Stop()
	}
}

// watch has the run go on while somebody waits for its end.
func (x *session) watch() (leave func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watchers++
	if x.grace != nil {
		x.grace.Stop()
	}
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.watchers--; x.broken != nil {
			x.startGrace()
		}
	}
}

// beat sends signs of life until the returned function is called.
func (x *session) beat() (end func()) {
	ticker, stop := time.NewTicker(x.server.times.Beat), make(chan struct{})
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				x.say(header{Type: typeAlive}, nil)
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop) }
}

// listen reads what the requester says while the job waits and runs.
func (x *session) listen() {
	for {
		h, err := x.c.next(x.server.times.Silence)
		if err == nil {
			err = x.hear(h)
		} else if x.input == nil || x.input.complete() {
			if isEnd(err) {
				return // it has no more to say, and may still read
			}
		}
		if err != nil {
			select {
			case <-x.over:
			default:
				x.lose(err)
			}
			return
		}
	}
}

// hear does what a frame says.
func (x *session) hear(h header) error {
	switch {
	case h.Type == typeInput && x.input != nil:
		if err := x.c.Take(maxPiece, x.input.put); err != nil {
			return err
		}
		if h.Last {
			x.input.end()
		}
	case h.Type == typeCancel:
		x.cancel(scheduler.ErrCancelled)
	case (h.Type == typeReveal || h.Type == typeOutput) && x.offer.Commit:
		select {
		case x.asks <- h.Type:
		default:
			return fmt.Errorf("%w: it asks too often to be shown something", frame.ErrProtocol)
		}
	case h.Type != typeAlive:
		return unexpected(h, "input, cancel, reveal, output or alive")
	}
	return nil
}

// output sends what a module writes. Of a broken stream it takes all the same:
// the run goes on.
type output struct {
	x    *session
	kind string
}

func (o output) Write(p []byte) (int, error) {
	for piece := range slices.Chunk(p, frame.Piece) {
		o.x.say(header{Type: o.kind}, piece)
	}
	return len(p), nil
}

// store keeps what a module writes, as far as there is room.
type store struct {
	x    *session
	data []byte
}

func (s *store) Write(p []byte) (int, error) {
	if err := s.x.place.Hold(int64(len(p))); err != nil {
		s.x.cancel(err)
		return 0, err
	}
	s.data = append(s.data, p...)
	return len(p), nil
}
