package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
)

const (
	enough       = 4                // connections with which a node does not look for more
	firstRetry   = time.Second      // before a peer that could not be reached is dialled again
	longestRetry = time.Minute      // however often it could not
	aloneRetry   = 10 * time.Second // the same while nobody is connected
	lostTime     = time.Minute      // a peer that was lost with its relay is dialled again
	saveEvery    = 10 * time.Minute // what is remembered is written
	maxRemember  = 64               // peers in the file
	maxSeeds     = 1024             // peers that are dialled unasked
	maxLater     = 64               // of them, nodes nearby that could not be reached
	maxFile      = 256 << 10        // bytes of it that are read
	keepTag      = "kept"           // protects connections to Config.Peers
)

// seed is a peer the node was told of, or remembers.
type seed struct {
	peer.AddrInfo
	kept bool // is to be connected always

	// A peer that was lost with the relay it was reached through, or is nearby and
	// could not be reached, is one until it is connected, or for a while.
	through peer.ID // "" for one nearby
	until   time.Time

	next  time.Time // when to dial it again
	retry time.Duration
}

// keeper stays connected: it dials the seeds at the start, when an address of
// the machine changes, when a kept peer is lost, and again and again while
// there are few connections.
type keeper struct {
	node *Node
	wake chan struct{}

	mu    sync.Mutex
	seeds map[peer.ID]*seed
}

// parseSeeds reads what the configuration names and what the file remembers.
func parseSeeds(c Config) (map[peer.ID]*seed, error) {
	seeds := map[peer.ID]*seed{}
	for _, list := range []struct {
		what  string
		texts []string
		kept  bool
	}{{"bootstrap", c.Bootstrap, false}, {"peer", c.Peers, true}} {
		for _, text := range list.texts {
			info, err := ParseAddress(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list.what, err)
			}
			add(seeds, info, list.kept)
		}
	}
	for _, text := range remembered(c.Remember) {
		if info, err := ParseAddress(text); err == nil {
			add(seeds, info, false)
		}
	}
	if self, err := ID(c.Identity.PeerID()); err == nil {
		delete(seeds, self)
	}
	return seeds, nil
}

func add(seeds map[peer.ID]*seed, info peer.AddrInfo, kept bool) {
	s := seeds[info.ID]
	if s == nil {
		s = &seed{AddrInfo: peer.AddrInfo{ID: info.ID}}
		seeds[info.ID] = s
	}
	s.Addrs = multiaddr.Unique(append(s.Addrs, info.Addrs...))
	s.kept = s.kept || kept
}

// ParseAddress reads the address of a peer, a multiaddr that ends with its peer
// id: /ip4/192.0.2.1/udp/7420/quic-v1/p2p/12D3KooW….
func ParseAddress(text string) (peer.AddrInfo, error) {
	const form = "want a multiaddr that ends with a peer id, like /ip4/192.0.2.1/udp/7420/quic-v1/p2p/12D3KooW…"
	a, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("%.200q: %s: %w", text, form, err)
	}
	info, err := peer.AddrInfoFromP2pAddr(a)
	if err != nil || len(info.Addrs) == 0 {
		return peer.AddrInfo{}, fmt.Errorf("%.200q: %s", text, form)
	}
	if _, err := ID(info.ID.String()); err != nil {
		return peer.AddrInfo{}, err
	}
	return *info, nil
}

func newKeeper(n *Node, seeds map[peer.ID]*seed) *keeper {
	return &keeper{node: n, wake: make(chan struct{}, 1), seeds: seeds}
}

// begin tells the host of the seeds.
func (k *keeper) begin() {
	for _, s := range k.seeds {
		k.node.host.Peerstore().AddAddrs(s.ID, s.Addrs, peerstore.PermanentAddrTTL)
		if s.kept {
			k.node.host.ConnManager().Protect(s.ID, keepTag)
		}
	}
}

// known are the seeds.
func (k *keeper) known() (list []peer.AddrInfo) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.seeds {
		if s.until.IsZero() {
			list = append(list, s.AddrInfo)
		}
	}
	return list
}

// again has all seeds dialled now: what made them fail may be over.
func (k *keeper) again() {
	k.mu.Lock()
	for _, s := range k.seeds {
		s.next, s.retry = time.Time{}, 0
	}
	k.mu.Unlock()
	k.nudge()
}

// lost has a kept peer dialled again, and others when few are left. A peer that
// this node dialled through a relay which is gone is dialled again by the other
// ways to it.
func (k *keeper) lost(c network.Conn) {
	id := c.RemotePeer()
	if relay, ok := carrier(c.RemoteMultiaddr()); ok && c.Stat().Direction == network.DirOutbound {
		k.mu.Lock()
		if now := time.Now(); k.seeds[id] == nil && len(k.seeds) < maxSeeds {
			// The library dials through one relay at a time, and would wait for the
			// dead one. That its connection is lost is noticed at the same time.
			k.node.host.Peerstore().SetAddrs(id, k.node.addressesThrough(relay, id), 0)
			k.seeds[id] = &seed{AddrInfo: peer.AddrInfo{ID: id}, through: relay, until: now.Add(lostTime), next: now.Add(firstRetry / 2)}
		}
		k.mu.Unlock()
	}
	k.nudge()
}

// later has a node nearby that could not be reached dialled again for a while.
func (k *keeper) later(to peer.AddrInfo) {
	k.mu.Lock()
	nearby := 0
	for _, s := range k.seeds {
		if !s.until.IsZero() && s.through == "" {
			nearby++
		}
	}
	if now := time.Now(); k.seeds[to.ID] == nil && nearby < maxLater && len(k.seeds) < maxSeeds {
		k.seeds[to.ID] = &seed{AddrInfo: to, until: now.Add(nearTime), next: now.Add(firstRetry)}
	}
	k.mu.Unlock()
	k.nudge()
}

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run(ctx context.Context) {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	for {
		timer := time.NewTimer(k.dial(ctx))
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		case <-save.C:
			k.save()
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// dial dials the seeds that are due, and returns when to look again.
func (k *keeper) dial(ctx context.Context) time.Duration {
	net := k.node.host.Network()
	peers := len(net.Peers())
	few, longest := peers < enough, longestRetry
	if peers == 0 {
		longest = aloneRetry
	}
	wait := longest
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, s := range k.seeds {
		temporary := !s.until.IsZero()
		connected := net.Connectedness(s.ID) == network.Connected
		switch {
		case temporary && !s.next.After(now) && (len(net.ConnsToPeer(s.ID)) > 0 || now.After(s.until) || net.Connectedness(s.through) == network.Connected):
			delete(k.seeds, s.ID)
			continue
		case connected || !few && !s.kept && !temporary:
			s.retry, s.next = 0, time.Time{}
			continue
		case s.next.After(now):
			wait = min(wait, s.next.Sub(now))
			continue
		}
		s.retry = min(max(2*s.retry, firstRetry), longest)
		s.next = now.Add(dialTime + s.retry/2 + rand.N(s.retry/2))
		info := s.AddrInfo
		k.node.tasks.Go(func() { k.try(ctx, info) })
		wait = min(wait, s.next.Sub(now))
	}
	return wait
}

// try dials one seed.
func (k *keeper) try(ctx context.Context, info peer.AddrInfo) {
	k.node.swarm.Backoff().Clear(info.ID) // when to dial again is decided here
	err := k.node.Connect(ctx, info)
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.seeds[info.ID]
	if s == nil {
		return
	}
	if err == nil {
		s.retry, s.next = 0, time.Time{}
		return
	}
	// It is 0 when all were to be dialled anew, or the peer came by itself, while
	// this dial was under way.
	s.retry = max(s.retry, firstRetry)
	s.next = time.Now().Add(s.retry/2 + rand.N(s.retry/2))
	slog.Info("network", "event", "unreachable", "peer", info.ID, "again", s.retry.String(), "reason", err.Error())
	k.nudge()
}

// peersFile is what is remembered between two starts.
type peersFile struct {
	Peers []string `json:"peers"` // multiaddrs with peer ids
}

// remembered reads the file; one that is not there or is damaged remembers
// nothing, and is written anew.
func remembered(path string) []string {
	if path == "" {
		return nil
	}
	data, err := statefile.ReadCapped(path, maxFile)
	var file peersFile
	if err == nil {
		err = strictjson.Unmarshal(data, &file, strictjson.Limit(maxFile))
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			slog.Warn("the peers of last time are forgotten", "file", path, "error", err)
		}
		return nil
	}
	return file.Peers[:min(len(file.Peers), 4*maxRemember)]
}

// save writes the peers that are connected by an address that will do again.
func (k *keeper) save() {
	if k.node.config.Remember == "" {
		return
	}
	file := peersFile{Peers: []string{}}
	for _, c := range k.node.host.Network().Conns() {
		a := c.RemoteMultiaddr()
		// The port of one that dialled us is good for nothing.
		if c.Stat().Direction == network.DirOutbound && !relayed(a) && !strings.Contains(a.String(), "/ip6zone/") && len(file.Peers) < maxRemember {
			file.Peers = append(file.Peers, a.String()+"/p2p/"+c.RemotePeer().String())
		}
	}
	if len(file.Peers) == 0 {
		return // what was remembered is better than nothing
	}
	data, err := strictjson.MarshalIndent(file)
	if err == nil {
		err = statefile.Replace(k.node.config.Remember, data, 0o600)
	}
	if err != nil {
		slog.Warn("the peers are not remembered", "error", err)
	}
}
