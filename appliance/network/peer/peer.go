// Package peer is a node's place in the network of nodes: one libp2p host with
// the node's identity, which listens by QUIC and TCP, keeps connections to the
// peers it was told of or remembers, and reaches others by the best way there
// is: directly, by hole punching, or through a relay. It watches the interfaces
// of the machine, so that a changed address or a pulled cable is mended without
// a restart, and it says what happens as events.
package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/observedaddrs"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/prometheus/client_golang/prometheus"

	"phase/appliance/base/identity"
	"phase/appliance/machine/link"
)

// DefaultPort is where a node listens unless told otherwise, by UDP for QUIC and
// by TCP.
const DefaultPort = 7420

// Config is what a node wants of the network.
type Config struct {
	Identity identity.Identity
	// Listen are multiaddrs to listen on, all of them. Without any, the node
	// listens at Bind on DefaultPort, or on another port when that one is taken;
	// the unspecified IPv6 address means IPv4 too. Without either it only dials.
	Listen []string
	Bind   netip.Addr
	// Bootstrap are multiaddrs with a peer id: peers by which others are found.
	// Peers are the same, and are kept connected.
	Bootstrap, Peers []string
	// Remember is the file in which peers are kept for the next start; "" keeps
	// none.
	Remember string
	// OnLink allows the prefixes of the machine's own interfaces alone: nothing
	// else is dialled or accepted.
	OnLink bool
	// Block are peer ids that are never talked to.
	Block []string
	// Relay carries the connections of others, within limits fit for jobs.
	Relay bool
	// Agent is what others are told of the program, like "phase/1.2".
	Agent string
	// Metrics takes the figures of the library and of this package; nil for none.
	Metrics prometheus.Registerer
}

// Node is a host and what keeps it in the network. It is safe for concurrent
// use.
type Node struct {
	config Config
	host   *basichost.BasicHost
	swarm  *swarm.Swarm
	gater  *gater
	paths  *paths
	keeper *keeper
	reach  *reach
	// What makes a node reachable from beyond its links; nil for one that is not
	// to be.
	observed *observedaddrs.Manager
	mappings *mappings
	puncher  *holepunch.Service
	metrics  *metrics
	met      chan peer.ID // dialled through a relay
	find     FindPeer     // nil for none

	upgrader transport.Upgrader
	closers  []func() error // run in reverse
	tasks    sync.WaitGroup
}

// Open makes the host and starts to listen. The work of staying in the network
// begins with Run.
func Open(c Config) (*Node, error) {
	if !c.Identity.Valid() {
		return nil, errors.New("opening the network: there is no identity")
	}
	seeds, err := parseSeeds(c)
	if err != nil {
		return nil, err
	}
	n := &Node{config: c, paths: newPaths(), met: make(chan peer.ID, 16)}
	n.keeper = newKeeper(n, seeds)
	if n.gater, err = newGater(c.OnLink, c.Block); err != nil {
		return nil, err
	}
	list, err := link.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("opening the network: %w", err)
	}
	n.gater.follow(list)
	if err := n.open(); err != nil {
		n.Close()
		return nil, fmt.Errorf("opening the network: %w", err)
	}
	return n, nil
}

// Host is the libp2p host, for protocols to be added to.
func (n *Node) Host() host.Host { return n.host }

// Run stays in the network until ctx ends.
func (n *Node) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, run := range []func(context.Context){n.keeper.run, n.watch, n.reach.run, n.events, n.carriers, n.introductions, n.mapped, n.punch} {
		all.Go(func() { run(ctx) })
	}
	all.Wait()
	n.keeper.save()
}

// Close ends all connections.
func (n *Node) Close() {
	for i := len(n.closers) - 1; i >= 0; i-- {
		if err := n.closers[i](); err != nil {
			slog.Debug("closing the network", "error", err)
		}
	}
	n.closers = nil
}

func (n *Node) onClose(f func() error) { n.closers = append(n.closers, f) }

// dialTime is how long one peer may take to be connected to, and its protocols
// to be known.
const dialTime = 10 * time.Second

// Connect connects to a peer at addresses, or at those known when there are
// none. The error names the peer.
func (n *Node) Connect(ctx context.Context, to peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if err := n.host.Connect(ctx, to); err != nil {
		return fmt.Errorf("connecting to peer %s: %w", to.ID, shorten(err))
	}
	return nil
}

// ID parses a peer id of a node.
func ID(text string) (peer.ID, error) {
	if _, err := identity.ParsePeerID(text); err != nil {
		return "", err
	}
	return peer.Decode(text)
}

// key is the identity in the form the library takes.
func key(id identity.Identity) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(id.PrivateKey())
}
