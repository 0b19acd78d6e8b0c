package peer

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Stream is a stream to a peer, encrypted, whose peer id was proved.
type Stream = network.Stream

// FindPeer asks where a peer is reached that no address is known of.
type FindPeer func(ctx context.Context, id peer.ID) (peer.AddrInfo, error)

// SetFindPeer gives the node another way to find peers than what it has heard
// by itself. It is called before the node is used by many.
func (n *Node) SetFindPeer(find FindPeer) { n.find = find }

// Dial opens a stream to a peer for a protocol, through a relay if there is no
// other way. A peer that is not connected is connected to first. The error names
// the peer and what failed.
func (n *Node) Dial(ctx context.Context, peerID, name string) (Stream, error) {
	id, err := ID(peerID)
	if err != nil {
		return nil, err
	}
	if err := n.reachable(ctx, id); err != nil {
		return nil, err
	}
	s, err := n.host.NewStream(network.WithAllowLimitedConn(ctx, name), id, protocol.ID(name))
	if err != nil {
		return nil, fmt.Errorf("opening a stream to peer %s: %w", id, shorten(err))
	}
	return s, nil
}

// reachable sees to it that there is a connection to a peer. One by a relay is
// enough, and is replaced by a better one behind it.
func (n *Node) reachable(ctx context.Context, id peer.ID) error {
	if len(n.host.Network().ConnsToPeer(id)) > 0 {
		return nil
	}
	var first error
	if len(n.host.Peerstore().Addrs(id)) > 0 {
		if first = n.Connect(ctx, peer.AddrInfo{ID: id}); first == nil {
			return nil
		}
	}
	if n.find == nil {
		if first == nil {
			first = fmt.Errorf("no address of peer %s is known; name one with --peer", id)
		}
		return first
	}
	info, err := n.find(ctx, id)
	if err != nil {
		return fmt.Errorf("finding peer %s: %w", id, err)
	}
	return n.Connect(ctx, info)
}

// Handle answers the streams that peers open for a protocol. What answer is given
// ends with it: the stream is reset unless it was closed.
func (n *Node) Handle(name string, answer func(peerID string, s Stream)) {
	n.host.SetStreamHandler(protocol.ID(name), func(s network.Stream) {
		answered := &answered{Stream: s}
		answer(s.Conn().RemotePeer().String(), answered)
		if !answered.closed.Load() {
			_ = s.Reset()
		}
	})
}

// answered is a stream that knows whether it was closed. Resetting it then would
// take back, by QUIC, what the other end has not received yet.
type answered struct {
	network.Stream
	closed atomic.Bool
}

func (a *answered) Close() error {
	a.closed.Store(true)
	return a.Stream.Close()
}
