package remote

import (
	"context"
	"log/slog"
	"time"

	"phase/appliance/compute/wasm"
	"phase/appliance/network/capability"
	"phase/appliance/network/frame"
)

// recordAge is how old the record may be that is given out: who asks often
// costs no signature each time.
const recordAge = time.Second

// Record returns what this node can do now, signed, and as it was signed.
func (s *Server) Record() ([]byte, capability.Record, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.record.Issued); s.signed != nil && age >= 0 && age < recordAge {
		return s.signed, s.record, nil
	}
	load := s.Runs.Load()
	name, version := wasm.Runtime()
	r := capability.Record{
		Version: capability.Version, PeerID: s.PeerID, Arch: s.Arch, Cores: load.Cores,
		MemoryMB: load.MemoryMB, FreeMB: load.MemoryMB - load.MemoryUsedMB,
		TimeoutSeconds: load.TimeoutSec, OutputBytes: load.OutputBytes,
		Runtimes: []capability.Runtime{{Name: name, Version: version, Profiles: []string{wasm.Profile}}},
		Load:     capability.Load{Running: load.Running, Waiting: load.Waiting, Queue: load.Queue},
		Accept:   s.Accept.Kind(), Release: s.Release, Issued: now.UTC(), Expires: now.Add(capability.Lifetime).UTC(),
	}
	if load.Stopping {
		r.Accept = "none"
	}
	if s.Failed != nil {
		r.Failed = s.Failed()
	}
	signed, err := capability.Sign(r, s.pin.Key, now, s.Sign)
	if err != nil {
		return nil, capability.Record{}, err
	}
	s.record, s.signed = r, signed
	return signed, r, nil
}

// Node answers one stream of NodeProtocol: the peer asks what this node can do,
// and anyone may. When ctx ends, so does the stream.
func (s *Server) Node(ctx context.Context, peerID string, stream frame.Stream) {
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() }) // the end either way
	defer stop()
	if !s.ask(peerID) {
		_ = stream.Reset()
		return
	}
	defer s.answered(peerID)
	c := newConn(stream, s.times.First)
	if err := s.tell(c); err != nil {
		slog.Debug("a peer that asked for the capabilities got none", "peer", peerID, "error", err)
		_ = stream.Reset()
		return
	}
	c.Finish(time.Second)
}

func (s *Server) tell(c *conn) error {
	h, err := c.next(s.times.First)
	if err != nil {
		return err
	}
	if h.Type != typeNode {
		return unexpected(h, typeNode)
	}
	record, _, err := s.Record()
	if err != nil {
		return err
	}
	return c.send(header{Type: typeNode}, record)
}

// Record asks a peer what it can do. The record is verified; its latency is how
// long the answer took once the stream was open. The error is a *PeerError.
func (c *Client) Record(ctx context.Context, peerID string) (capability.Candidate, error) {
	fail := func(f Failure, err error) (capability.Candidate, error) {
		return capability.Candidate{}, &PeerError{Peer: peerID, Failure: f, Err: during("asking for its capabilities", err)}
	}
	pin, err := pinOf(peerID)
	if err != nil {
		return fail(Unreachable, err)
	}
	conn, cut, err := c.open(ctx, peerID, NodeProtocol)
	if err != nil {
		return fail(Unreachable, err)
	}
	defer cut()
	asked := time.Now()
	if err := conn.send(header{Type: typeNode}, nil); err != nil {
		return fail(failure(ctx, err), err)
	}
	h, err := conn.next(c.Times.orDefault().First)
	if err == nil && h.Type != typeNode {
		err = unexpected(h, typeNode)
	}
	if err != nil {
		return fail(failure(ctx, err), err)
	}
	data, err := conn.Bytes(capability.MaxBytes)
	if err != nil {
		return fail(failure(ctx, err), err)
	}
	latency := time.Since(asked)
	_ = conn.Close() // nothing more is said
	r, err := capability.Verify(data, peerID, pin.Key, time.Now())
	if err != nil {
		return fail(Lied, err)
	}
	return capability.Candidate{Record: r, Latency: latency, Signed: data}, nil
}
