package releases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"phase/appliance/base/names"
	"phase/appliance/network/dht"
	"phase/appliance/release/record"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

const (
	lonelyAgain  = 200 * time.Millisecond // after a search of the DHT with nobody in it
	firstAgain   = 2 * time.Second        // after any other, the next
	longestAgain = 5 * time.Minute        // doubling
	reachTime    = 8 * time.Second        // to connect to a provider
	probeTime    = 2 * time.Second        // to see whether HTTP answers at an address
	askAtOnce    = 16
)

// Finder finds providers of the node's own fleet among its peers and through
// the DHT, for package survey.
type Finder struct {
	Releases *Releases
	// Channel and Arch to look for; "" or trust.Any is all of them.
	Channel, Arch string
}

// Find announces each peer that answered with a record of ours, and again when
// it is found again, until ctx ends or Releases.Run does. The peer's HTTP comes first where it can be
// reached, its stream last.
func (f Finder) Find(ctx context.Context) (<-chan survey.Announcement, error) {
	r := f.Releases
	if r.config.Roots.Fleet() == "" {
		return nil, errors.New("looking for releases in the DHT: the name of the fleet is not known")
	}
	news, err := r.config.Host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(256))
	if err != nil {
		return nil, fmt.Errorf("looking for releases among peers: %w", err)
	}
	l := &look{Releases: r, out: make(chan survey.Announcement), slots: make(chan struct{}, askAtOnce)}
	for _, channel := range chosen(f.Channel, names.Channels) {
		for _, arch := range chosen(f.Arch, names.Arches) {
			l.keys = append(l.keys, record.Key{Fleet: r.config.Roots.Fleet(), Channel: channel, Arch: arch})
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-r.ended:
		case <-ctx.Done():
		}
	}()
	go func() {
		defer cancel()
		l.run(ctx, news)
		l.work.Wait()
		close(l.out)
	}()
	return l.out, nil
}

func chosen(one string, all []string) []string {
	if one == "" || one == trust.Any {
		return all
	}
	return []string{one}
}

// look is one run of a Finder.
type look struct {
	*Releases
	keys  []record.Key
	out   chan survey.Announcement
	slots chan struct{} // peers asked at once
	work  sync.WaitGroup
}

// run asks the peers that are there and those that come, and searches the DHT
// again and again: soon at first, when a node has just come up.
func (l *look) run(ctx context.Context, news event.Subscription) {
	defer news.Close()
	for _, p := range l.config.Host.Network().Peers() {
		l.peer(ctx, p)
	}
	again := firstAgain
	searched := make(chan bool, 1)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-news.Out():
			if known, ok := e.(event.EvtPeerIdentificationCompleted); ok {
				l.peer(ctx, known.Peer)
			}
		case <-timer.C:
			l.work.Go(func() {
				lonely := l.config.DHT.Size() == 0
				l.search(ctx)
				searched <- lonely
			})
		case lonely := <-searched:
			if lonely {
				timer.Reset(lonelyAgain)
				continue
			}
			timer.Reset(again)
			again = min(2*again, longestAgain)
		}
	}
}

// peer asks a peer that is connected, whether it knows what that means or not.
func (l *look) peer(ctx context.Context, p peer.ID) {
	if known, err := l.config.Host.Peerstore().SupportsProtocols(p, ManifestProtocol); err != nil || len(known) == 0 {
		return
	}
	for _, key := range l.keys {
		l.work.Go(func() { l.askAndTell(ctx, p, key) })
	}
}

// search finds the newest record of each key, and who provides its release.
func (l *look) search(ctx context.Context) {
	var all sync.WaitGroup
	for _, key := range l.keys {
		all.Go(func() {
			best, err := l.config.DHT.Best(ctx, key)
			if errors.Is(err, dht.ErrNone) || ctx.Err() != nil {
				return
			}
			if err == nil {
				err = l.ours(key, best)
			}
			if err != nil {
				slog.Info("releases", "event", "not found", "key", key.String(), "reason", err.Error())
				return
			}
			slog.Debug("releases", "event", "found", "key", key.String(), "version", best.Version())
			for p := range l.config.DHT.Providers(ctx, best.Artifacts()["rootfs"].SHA256) {
				all.Go(func() { l.reach(ctx, p, key) })
			}
		})
	}
	all.Wait()
}

// ours says whether a record is of our roots, which no other node can know, and
// learns those that follow them.
func (l *look) ours(key record.Key, r record.Record) error {
	_, roots, err := r.For(l.trusted(), trust.Policy{Channel: key.Channel, Arch: key.Arch, Now: l.config.Now()})
	if err == nil {
		l.learn(roots)
	}
	return err
}

// reach connects to a provider and asks it. One that has gone is passed over:
// the DHT has no delete.
func (l *look) reach(ctx context.Context, p peer.AddrInfo, key record.Key) {
	reaching, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := l.config.DHT.Reach(reaching, p); err != nil {
		slog.Debug("releases", "event", "stale provider", "peer", p.ID, "reason", err.Error())
		return
	}
	l.askAndTell(ctx, p.ID, key)
}

// askAndTell announces a peer that has a record of ours.
func (l *look) askAndTell(ctx context.Context, p peer.ID, key record.Key) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return
	}
	got, ports, err := l.ask(ctx, p, key)
	if err == nil {
		err = l.ours(key, got)
	}
	if err != nil {
		if !errors.Is(err, ErrNotHeld) && ctx.Err() == nil {
			slog.Info("releases", "event", "left out", "peer", p, "key", key.String(), "reason", err.Error())
		}
		return
	}
	a := survey.Announcement{
		Key: "dht " + p.String() + " " + key.Channel + " " + key.Arch, Source: "peer " + p.String(),
		Channel: key.Channel, Arch: key.Arch, Version: got.Version(), Peer: p.String(),
	}
	for _, ip := range addresses(l.config.Host.Network().ConnsToPeer(p)) {
		a.Source = ip.String()
		for _, port := range ports {
			if at := net.JoinHostPort(ip.String(), strconv.Itoa(int(port))); answers(ctx, at) {
				a.URLs = append(a.URLs, (&url.URL{Scheme: "http", Host: at}).String())
			}
		}
	}
	a.URLs = append(a.URLs, StreamURL(p.String()))
	select {
	case l.out <- a:
	case <-ctx.Done():
	}
}

// addresses are those that a peer is reached at, without those of relays.
func addresses(conns []network.Conn) (list []netip.Addr) {
	for _, c := range conns {
		a := c.RemoteMultiaddr()
		if _, err := a.ValueForProtocol(multiaddr.P_CIRCUIT); err == nil {
			continue
		}
		bytes, err := manet.ToIP(a)
		ip, ok := netip.AddrFromSlice(bytes)
		if err != nil || !ok {
			continue
		}
		ip = ip.Unmap()
		if zone, err := a.ValueForProtocol(multiaddr.P_IP6ZONE); err == nil {
			ip = ip.WithZone(zone)
		}
		if !slices.Contains(list, ip) {
			list = append(list, ip)
		}
	}
	return list
}

// answers says whether something listens at an address: behind a NAT the peer's
// own port is seldom reached, and a survey has little time.
func answers(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: probeTime}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
