package discover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/program"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/finder"
	"phase/appliance/daemon/places"
	"phase/appliance/network/dht"
	"phase/appliance/network/peer"
	"phase/appliance/network/releases"
	"phase/appliance/release/fetch"
	"phase/appliance/release/roots"
	"phase/appliance/release/survey"
)

// reach are the options of looking beyond the local network.
type reach struct {
	Bootstrap []string `placeholder:"MADDR" help:"Look through this peer, like /ip4/192.0.2.1/udp/7420/quic-v1/p2p/12D3KooW..., rather than through the daemon; may be repeated."`
	Ephemeral bool     `help:"Look under a peer id made for this, rather than through the daemon."`
	Socket    string   `placeholder:"PATH" help:"The daemon's socket (default: where plasmd start listens)."`
}

func (r reach) check() error {
	for _, text := range r.Bootstrap {
		if _, err := peer.ParseAddress(text); err != nil {
			return program.Usagef("--bootstrap: %w", err)
		}
	}
	if r.Socket != "" && (r.Ephemeral || len(r.Bootstrap) > 0) {
		return program.Usagef("--socket asks the daemon, --bootstrap and --ephemeral do not: choose")
	}
	return nil
}

// network is how releases are found beyond the local network. Its zero value
// finds none.
type network struct {
	finders []survey.Finder
	ways    []fetch.Way

	end       context.CancelFunc
	work      *sync.WaitGroup
	close     func()
	unreached func() error // why nobody may have been found
}

// leave ends it.
func (n network) leave() {
	if n.end != nil {
		n.end()
		n.work.Wait()
		n.close()
	}
}

// network asks the daemon, or without one takes part in the network of nodes
// itself. What goes wrong is logged: the local network is looked at all the same.
func (r reach) network(ctx context.Context, trusted roots.Loaded, channel, arch string) network {
	none := network{unreached: func() error { return nil }}
	if !r.Ephemeral && len(r.Bootstrap) == 0 {
		socket, err := r.daemon(ctx)
		if err == nil {
			return network{
				finders: []survey.Finder{finder.New(socket, channel, arch)}, ways: []fetch.Way{finder.Way(socket)},
				unreached: func() error { return lonely(socket) },
			}
		}
		if r.Socket != "" || !errors.Is(err, api.ErrNoDaemon) {
			slog.Warn("the daemon is not asked", "error", err)
		}
	}
	n, err := r.join(ctx, trusted, channel, arch)
	if err != nil {
		slog.Warn("nothing is looked for beyond the local network", "error", err)
		return none
	}
	return n
}

// daemon is the socket of the daemon that runs here.
func (r reach) daemon(ctx context.Context) (socket string, err error) {
	if socket = r.Socket; socket == "" {
		if socket, err = places.Asked(os.Geteuid(), places.Service); err != nil {
			return "", err
		}
	}
	return socket, api.NewClient(socket).Reach(ctx)
}

// lonely says that the daemon can find nobody.
func lonely(socket string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p, err := api.NewClient(socket).Peers(ctx)
	if err == nil && len(p.Peers) == 0 {
		return errors.New("the daemon is connected to no other node; `plasmd start --bootstrap MADDR` names it one")
	}
	return nil
}

// join takes part in the network of nodes for as long as it is looked for
// releases: under a peer id made for this, dialling only.
func (r reach) join(ctx context.Context, trusted roots.Loaded, channel, arch string) (n network, err error) {
	if trusted.NoChain != nil {
		return n, trusted.NoChain
	}
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		return n, err
	}
	node, err := peer.Open(peer.Config{Identity: id, Bootstrap: r.Bootstrap, Agent: "phase/" + program.Version})
	if err != nil {
		return n, err
	}
	table, err := dht.Open(dht.Config{Host: node.Host(), Client: true, Fleet: trusted.Chain.Fleet()})
	if err != nil {
		node.Close()
		return n, err
	}
	found := releases.Open(releases.Config{Host: node.Host(), DHT: table, Roots: trusted.Chain})
	n.finders = []survey.Finder{releases.Finder{Releases: found, Channel: channel, Arch: arch}}
	n.ways = []fetch.Way{found.Way()}
	ctx, n.end = context.WithCancel(ctx)
	n.work, n.close = &sync.WaitGroup{}, func() {
		if err := table.Close(); err != nil {
			slog.Debug("leaving the DHT", "error", err)
		}
		node.Close()
	}
	for _, run := range []func(context.Context){node.Run, table.Run, found.Run, func(ctx context.Context) {
		if err := node.Nearby(ctx); err != nil {
			slog.Warn("looking for peers nearby", "error", err)
		}
	}} {
		n.work.Go(func() { run(ctx) })
	}
	n.unreached = r.dial(ctx, node, n.work)
	return n, nil
}

// dial connects to the bootstrap peers, and returns what says which of them
// could not be reached.
func (r reach) dial(ctx context.Context, node *peer.Node, work *sync.WaitGroup) func() error {
	var mu sync.Mutex
	reasons := map[string]error{}
	for _, text := range r.Bootstrap {
		reasons[text] = errors.New("it has not answered yet")
		work.Go(func() {
			info, err := peer.ParseAddress(text)
			if err == nil {
				err = node.Connect(ctx, info)
			}
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() == nil || err == nil {
				reasons[text] = err
			}
			if err != nil && ctx.Err() == nil {
				slog.Warn("a bootstrap peer is not reached", "address", text, "reason", err.Error())
			}
		})
	}
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		var all []error
		for _, text := range slices.Compact(slices.Sorted(slices.Values(r.Bootstrap))) {
			if err := reasons[text]; err != nil {
				all = append(all, fmt.Errorf("bootstrap peer %s is not reached: %w", text, err))
			}
		}
		return errors.Join(all...)
	}
}
