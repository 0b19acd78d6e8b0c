package dht_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	libp2precord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-msgio/pbio"

	"phase/appliance/network/dht"
	"phase/tests/await"
	"phase/tests/storetest"
)

// hostile speaks the protocol itself, and keeps to none of its rules.
type hostile struct {
	t testing.TB
	node
}

func newHostile(t testing.TB, victims []node) hostile {
	t.Helper()
	var addresses []string
	for _, v := range victims {
		addresses = append(addresses, v.address())
	}
	h := hostile{t, join(t, "", true, addresses...)}
	for _, v := range victims {
		until(t, "a connection", func() bool {
			return h.Host().Network().Connectedness(v.Host().ID()) == network.Connected
		})
	}
	return h
}

func (h hostile) open(to node) network.Stream {
	h.t.Helper()
	s, err := h.Host().NewStream(h.t.Context(), to.Host().ID(), dht.Protocol)
	if err != nil {
		h.t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	return s
}

// put gives a value to one node; an error means that it was not taken.
func (h hostile) put(to node, key string, value []byte) error {
	s := h.open(to)
	defer s.Reset()
	m := pb.NewMessage(pb.Message_PUT_VALUE, []byte(key), 0)
	m.Record = libp2precord.MakePutRecord(key, value)
	if err := pbio.NewDelimitedWriter(s).WriteMsg(m); err != nil {
		return err
	}
	answer := new(pb.Message)
	return pbio.NewDelimitedReader(s, 1<<20).ReadMsg(answer)
}

// A message that says it is large is refused before there is room for it, and
// streams that say nothing are bounded, while others are answered.
func TestStreamsAreBounded(t *testing.T) {
	nodes := ring(t, 2, "")
	h := newHostile(t, nodes[:1])
	s := h.open(nodes[0])
	if _, err := s.Write(binary.AppendUvarint(nil, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a message of 4 MiB: %v, want a reset", err)
	}
	// Half-open streams: the first few are kept, the others reset.
	reset := 0
	var open []network.Stream
	for range 40 {
		s := h.open(nodes[0])
		_, _ = s.Write([]byte{0x80})
		open = append(open, s)
	}
	for _, s := range open {
		_ = s.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := s.Read(make([]byte, 1))
		var late interface{ Timeout() bool }
		if err != nil && !(errors.As(err, &late) && late.Timeout()) {
			reset++
		}
	}
	if reset < 40-16 {
		t.Errorf("%d of 40 half-open streams of one peer were reset", reset)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range nodes[1].Providers(ctx, dht.Bucket("any")) {
	}
	if ctx.Err() != nil {
		t.Error("another peer got no answer")
	}
}

// A peer that puts records without end is stopped, on a new stream too, while
// another is answered.
func TestFlood(t *testing.T) {
	signer := storetest.NewSigner(t)
	nodes := ring(t, 2, "")
	r := made(t, signer, "stable", 5)
	h := newHostile(t, nodes[:1])
	puts, most := 0, 3<<20/len(r.Value())
	for puts < most && h.put(nodes[0], r.Key().String(), r.Value()) == nil {
		puts++
	}
	if puts == most || puts < most/3 {
		t.Errorf("%d records of %d bytes were taken of one peer", puts, len(r.Value()))
	}
	refused := 0
	for range 100 {
		if h.put(nodes[0], r.Key().String(), r.Value()) != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("a new stream is a new start")
	}
	if got, err := nodes[1].Best(t.Context(), r.Key()); err != nil || got.Version() != 5 {
		t.Errorf("another peer was answered version %d, %v", got.Version(), err)
	}
}

// until waits for what cannot tell when it happens.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	if err := await.Until(t.Context(), happened); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}
