package peer

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	blankhost "github.com/libp2p/go-libp2p/p2p/host/blank"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/observedaddrs"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/quic-go/quic-go"
)

// The library's own constructor is not used: it links WebRTC, WebTransport and
// WebSocket, which no node speaks, and costs 5 MB and a millisecond at every
// start of the one binary. See docs/decisions/2026-11-29-peer-host.md.

func init() {
	// One observer is enough for an address to be looked at. It is not told to
	// others as reachable before a peer has dialled it (AutoNAT), so a liar gains
	// nothing, and a network of three nodes, which never has four observers, can
	// punch holes. The library leaves no other way to say it.
	observedaddrs.ActivationThresh = 1
}

// open puts the host together.
func (n *Node) open() error {
	priv, err := key(n.config.Identity)
	if err != nil {
		return err
	}
	limits, err := newLimits(n.config.Metrics)
	if err != nil {
		return err
	}
	n.onClose(limits.Close)
	bus := eventbus.NewBus()
	n.swarm, n.upgrader, err = n.newSwarm(priv, bus, limits, n.swarmOptions()...)
	if err != nil {
		return err
	}
	manager, err := connmgr.NewConnManager(lowConns, highConns, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		return err
	}
	n.onClose(manager.Close)
	options := &basichost.HostOpts{
		EventBus: bus, ConnManager: manager, EnablePing: true, UserAgent: n.config.Agent, ProtocolVersion: "phase/1.0.0",
		AddrsFactory:  n.advertised,
		EnableMetrics: n.config.Metrics != nil, PrometheusRegisterer: n.config.Metrics,
	}
	if n.reachesOut() {
		if err := n.reachOptions(options, bus, limits); err != nil {
			return err
		}
	}
	if n.host, err = basichost.NewHost(n.swarm, options); err != nil {
		return err
	}
	n.onClose(n.host.Close)
	n.keeper.begin()
	if n.reach, err = newReach(n); err != nil {
		return err
	}
	n.metrics = newMetrics(n)
	n.swarm.Notify(n.paths.notifiee(n))
	n.host.Start() // first: a host that was never started cannot be closed
	if err := n.listen(); err != nil {
		return err
	}
	return n.openRelay()
}

// reachesOut says whether the node is to be reached from beyond its own links.
func (n *Node) reachesOut() bool { return !n.config.OnLink && n.listens() }

// swarmOptions are those of the node's own connections.
func (n *Node) swarmOptions() []swarm.Option {
	options := []swarm.Option{swarm.WithConnectionGater(n.gater), swarm.WithDialTimeout(dialTime), swarm.WithDialTimeoutLocal(dialTime / 2)}
	if n.config.Metrics != nil {
		options = append(options, swarm.WithMetricsTracer(swarm.NewMetricsTracer(swarm.WithRegisterer(n.config.Metrics))))
	}
	return options
}

// reachOptions adds what makes a node reachable behind a NAT: port mapping,
// addresses as others see them, and the question whether they can be dialled.
func (n *Node) reachOptions(o *basichost.HostOpts, bus event.Bus, limits network.ResourceManager) error {
	observed, err := observedaddrs.NewManager(bus, n.swarm)
	if err != nil {
		return err
	}
	observed.Start(n.swarm)
	n.onClose(observed.Close)
	n.observed, o.ObservedAddrsManager = observed, &lateObserved{observed, time.Now()}
	o.NATManager = func(of network.Network) basichost.NATManager {
		n.mappings = newMappings(of)
		return n.mappings
	}
	// What asks back whether an address can be dialled does so with another key,
	// from another port: else it would only find the connection that is there.
	_, priv, err := newKey()
	if err != nil {
		return err
	}
	// The library would first want a hundred dials to have shown that UDP and IPv6
	// work here, and refuse to try until then.
	other, _, err := n.newSwarm(priv, eventbus.NewBus(), limits, swarm.WithUDPBlackHoleSuccessCounter(nil), swarm.WithIPv6BlackHoleSuccessCounter(nil),
		swarm.WithConnectionGater(dialBack{n.gater}))
	if err != nil {
		return err
	}
	dialer := blankhost.NewBlankHost(other)
	n.onClose(dialer.Close)
	o.AutoNATv2, err = autonatv2.New(dialer)
	return err
}

func newKey() (crypto.PubKey, crypto.PrivKey, error) {
	priv, pub, err := crypto.GenerateEd25519Key(rand.Reader)
	return pub, priv, err
}

// newSwarm makes what dials and listens, with QUIC and TCP under Noise.
func (n *Node) newSwarm(priv crypto.PrivKey, bus event.Bus, limits network.ResourceManager, options ...swarm.Option) (*swarm.Swarm, transport.Upgrader, error) {
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return nil, nil, err
	}
	known, err := pstoremem.NewPeerstore(pstoremem.WithMaxAddresses(maxAddresses), pstoremem.WithMaxSignedPeerRecords(maxAddresses/4))
	if err != nil {
		return nil, nil, err
	}
	n.onClose(known.Close)
	if err := errors.Join(known.AddPrivKey(id, priv), known.AddPubKey(id, priv.GetPublic())); err != nil {
		return nil, nil, err
	}
	reuse, err := n.newQUIC(priv, limits)
	if err != nil {
		return nil, nil, err
	}
	n.onClose(reuse.Close)
	s, err := swarm.NewSwarm(id, known, bus, append(options, swarm.WithResourceManager(limits))...)
	if err != nil {
		return nil, nil, err
	}
	n.onClose(s.Close)
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	secure, err := noise.New(noise.ID, priv, muxers)
	if err != nil {
		return nil, nil, err
	}
	up, err := upgrader.New([]sec.SecureTransport{secure}, muxers, nil, limits, n.gater)
	if err != nil {
		return nil, nil, err
	}
	q, err := libp2pquic.NewTransport(priv, reuse, nil, n.gater, limits)
	if err != nil {
		return nil, nil, err
	}
	t, err := tcp.NewTCPTransport(up, limits, nil)
	if err != nil {
		return nil, nil, err
	}
	if n.config.OnLink {
		return s, up, errors.Join(s.AddTransport(q), s.AddTransport(onLinkTCP{t, up}))
	}
	return s, up, errors.Join(s.AddTransport(q), s.AddTransport(t))
}

// newQUIC makes the sockets of QUIC, whose keys follow from the node's.
func (n *Node) newQUIC(priv crypto.PrivKey, limits network.ResourceManager) (*quicreuse.ConnManager, error) {
	raw, err := priv.Raw()
	if err != nil {
		return nil, err
	}
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	for info, into := range map[string][]byte{"libp2p quic stateless reset key": reset[:], "libp2p quic token generator key": token[:]} {
		derived, err := hkdf.Key(sha256.New, raw, nil, info, len(into))
		if err != nil {
			return nil, err
		}
		copy(into, derived)
	}
	options := []quicreuse.Option{
		quicreuse.ConnContext(func(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
			from, err := quicreuse.ToQuicMultiaddr(info.RemoteAddr, quic.Version1)
			if err != nil {
				from = nil // the limits judge it all the same
			}
			// The library asks the gater when the other side has been told who this is.
			if n.config.OnLink && (from == nil || !n.gater.near(from)) {
				return ctx, errors.New("it comes from beyond the links of this machine")
			}
			scope, err := limits.OpenConnection(network.DirInbound, false, from)
			if err != nil {
				return ctx, err
			}
			context.AfterFunc(ctx, scope.Done)
			return network.WithConnManagementScope(ctx, scope), nil
		}),
		quicreuse.VerifySourceAddress(func(from net.Addr) bool { return limits.VerifySourceAddress(from) }),
	}
	if n.config.OnLink {
		options = append(options, quicreuse.OverrideListenUDP(listenUDPOnLink))
	}
	return quicreuse.NewConnManager(reset, token, options...)
}

// openRelay lets others be reached through this node, and this node through
// others.
func (n *Node) openRelay() error {
	if n.config.OnLink {
		return nil
	}
	if err := circuit.AddTransport(n.host, n.upgrader); err != nil {
		return err
	}
	if !n.listens() {
		return nil
	}
	n.host.SetStreamHandler(introduceProtocol, n.answer)
	if err := n.openPuncher(); err != nil {
		return err
	}
	if n.config.Relay {
		service, err := relay.New(n.host, relay.WithResources(relayResources()))
		if err != nil {
			return err
		}
		n.onClose(service.Close)
	}
	places, err := autorelay.NewAutoRelay(n.host, autorelay.WithPeerSource(n.relays), autorelay.WithNumRelays(2), autorelay.WithMinCandidates(2),
		autorelay.WithBootDelay(0), autorelay.WithMinInterval(relayInterval), autorelay.WithBackoff(relayBackoff))
	if err != nil {
		return err
	}
	places.Start()
	n.onClose(places.Close)
	return nil
}
