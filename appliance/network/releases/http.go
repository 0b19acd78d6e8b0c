package releases

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"

	"phase/appliance/network/bounds"
	"phase/appliance/release/fetch"
	"phase/appliance/release/provide"
)

// HTTPProtocol is HTTP/1.1 on a stream, as the libp2p specification of HTTP has
// it.
const HTTPProtocol = "/http/1.1"

// streamHost ends the host of a URL whose server is reached over streams; what
// is before it is the peer id.
const streamHost = ".libp2p"

const (
	dialTime   = 10 * time.Second
	maxServing = 128 // streams of others at once
	serveEach  = 8   // of one peer
	drainTime  = time.Second
)

// StreamURL is the base URL of a peer's releases over a stream. A client with
// the Way of Releases, and no other, understands it.
func StreamURL(peerID string) string { return "http://" + peerID + streamHost }

// StreamPeer is the peer id in a base URL of StreamURL.
func StreamPeer(url string) (peerID string, ok bool) {
	rest, ok := strings.CutPrefix(url, "http://")
	id, end := strings.CutSuffix(rest, streamHost)
	return id, ok && end && id != "" && !strings.Contains(id, "/")
}

// Serve answers HTTP over streams until ctx ends, with a handler that is for
// everybody: a provider's pages, never /v1.
func Serve(ctx context.Context, h host.Host, handler http.Handler) error {
	l, err := gostream.Listen(h, HTTPProtocol, gostream.IgnoreEOF())
	if err != nil {
		return fmt.Errorf("serving releases over streams: %w", err)
	}
	return provide.Serve(ctx, provide.NewServer(handler), &bounded{Listener: l, bounds: bounds.New[peer.ID](maxServing, serveEach)}, drainTime)
}

// bounded is a listener that closes what is more than its bounds.
type bounded struct {
	net.Listener
	bounds *bounds.Bounds[peer.ID]
}

// Accept returns the next stream within the bounds.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, net.ErrClosed
		}
		from := peer.ID(c.RemoteAddr().String())
		if b.bounds.Enter(from) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { b.bounds.Leave(from) })}, nil
		}
		_ = c.Close()
	}
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close ends the stream.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// Way reaches the hosts of StreamURL over streams, for a client of package
// fetch.
func (r *Releases) Way() fetch.Way {
	return fetch.Way{Suffix: streamHost, Dial: func(ctx context.Context, hostName string) (net.Conn, error) {
		id, err := peer.Decode(strings.TrimSuffix(hostName, streamHost))
		if err != nil {
			return nil, fmt.Errorf("%.80q is no peer id: %w", hostName, err)
		}
		return r.Dial(ctx, id)
	}}
}

// Transport asks peers over streams, by the URLs of StreamURL, within the bounds
// of package fetch.
func (r *Releases) Transport() http.RoundTripper { return r.transport }

// Through is a Way to the hosts of StreamURL by a server on this machine, which
// dial connects to and which has a peer's HTTP below a path.
func Through(dial func(context.Context) (net.Conn, error), path func(peerID string) string) fetch.Way {
	return fetch.Way{
		Suffix: streamHost,
		Dial:   func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) },
		Prefix: func(host string) string { return path(strings.TrimSuffix(host, streamHost)) },
	}
}

// Dial opens a stream for HTTP to a peer, connecting to it first if need be.
func (r *Releases) Dial(ctx context.Context, to peer.ID) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if err := r.config.DHT.Reach(ctx, peer.AddrInfo{ID: to}); err != nil {
		return nil, err
	}
	c, err := gostream.Dial(network.WithAllowLimitedConn(ctx, "releases"), r.config.Host, to, HTTPProtocol)
	if err != nil {
		return nil, fmt.Errorf("opening a stream for HTTP to peer %s: %w", to, err)
	}
	return c, nil
}
