package dht

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"phase/appliance/network/bounds"
)

// What others may ask at once. The library reads whole messages into memory, of
// up to 4 MiB, and waits a minute for each.
const (
	maxStreams   = 128
	streamOfPeer = 16
	maxQuestion  = 96 << 10 // bytes: a record, its key twice, and what is around them
)

var (
	errQuestion = errors.New("the message is too large")
	errFlood    = errors.New("too much was asked")
)

// inbound is the host as the library sees it: it bounds the streams that others
// open to the DHT, and the messages on them.
type inbound struct {
	host.Host
	streams *bounds.Bounds[peer.ID]
	flows   *flows
}

// SetStreamHandler has streams within the bounds handled, and resets others.
func (i *inbound) SetStreamHandler(id protocol.ID, handle network.StreamHandler) {
	i.Host.SetStreamHandler(id, func(s network.Stream) {
		from := s.Conn().RemotePeer()
		if !i.streams.Enter(from) {
			_ = s.Reset()
			return
		}
		defer i.streams.Leave(from)
		handle(&question{Stream: s, flows: i.flows})
	})
}

// question is a stream whose messages, each after its length as a varint, are
// held to maxQuestion, and to the rate of who sends them, before the library
// makes room for them.
type question struct {
	network.Stream
	flows  *flows
	length uint64 // of the message, as far as it is read
	shift  uint
	left   uint64 // bytes of the message still to come
}

// Read gives on what is within the bounds.
func (q *question) Read(p []byte) (int, error) {
	if q.left == 0 && len(p) > 1 {
		p = p[:1] // the length, byte for byte
	} else if q.left > 0 && uint64(len(p)) > q.left {
		p = p[:q.left]
	}
	n, err := q.Stream.Read(p)
	if n == 0 || err != nil && n == 0 {
		return n, err
	}
	if q.left > 0 {
		q.left -= uint64(n)
		return n, err
	}
	q.length |= uint64(p[0]&0x7f) << q.shift
	q.shift += 7
	if q.length > maxQuestion || q.shift > 28 {
		return 0, errQuestion
	}
	if p[0]&0x80 == 0 {
		if !q.flows.allow(q.Conn(), int(q.length), time.Now()) {
			return 0, errFlood
		}
		q.left, q.length, q.shift = q.length, 0, 0
	}
	return n, err
}
