package dht

import (
	"context"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-msgio/pbio"
)

const (
	// requestTime is what one peer gets for one question. The library's own
	// sender waits twice ten seconds for one that has gone without a goodbye,
	// and every search waits for it.
	requestTime = 4 * time.Second
	maxAnswer   = 1 << 20
)

// sender asks other nodes, each question on a stream of its own: a stream costs
// no round trip, and what one peer does to it holds up no other question.
type sender struct {
	host      host.Host
	protocols []protocol.ID
}

func newSender(h host.Host, protocols []protocol.ID) pb.MessageSenderWithDisconnect {
	return &sender{host: h, protocols: protocols}
}

// OnDisconnect has nothing to forget.
func (s *sender) OnDisconnect(context.Context, peer.ID) {}

// SendRequest sends a message and returns the answer.
func (s *sender) SendRequest(ctx context.Context, to peer.ID, m *pb.Message) (*pb.Message, error) {
	began := time.Now()
	answer := new(pb.Message)
	err := s.send(ctx, to, m, answer)
	if err != nil {
		return nil, err
	}
	s.host.Peerstore().RecordLatency(to, time.Since(began))
	return answer, nil
}

// SendMessage sends a message that has no answer.
func (s *sender) SendMessage(ctx context.Context, to peer.ID, m *pb.Message) error {
	return s.send(ctx, to, m, nil)
}

func (s *sender) send(ctx context.Context, to peer.ID, m, answer *pb.Message) error {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "dht"), requestTime)
	defer cancel()
	stream, err := s.host.NewStream(ctx, to, s.protocols...)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	err = pbio.NewDelimitedWriter(stream).WriteMsg(m)
	if err == nil {
		err = stream.CloseWrite()
	}
	if err == nil && answer != nil {
		err = pbio.NewDelimitedReader(stream, maxAnswer).ReadMsg(answer)
	}
	if err != nil {
		_ = stream.Reset()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return stream.Close()
}
