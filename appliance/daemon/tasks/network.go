package tasks

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"phase/appliance/network/dht"
	"phase/appliance/network/lan"
	"phase/appliance/network/peer"
	"phase/appliance/network/releases"
)

// Network is the task that takes part in the network of nodes. It is ready
// once the host listens.
type Network struct {
	// Config is what the host is opened with.
	Config peer.Config
	// Nearby has it look for nodes on the LAN.
	Nearby bool
	// Must makes a network that cannot be joined the end of the daemon; else it
	// is a problem and no end.
	Must bool
	// Join adds a protocol each to the host before others can use it. What it
	// returns, if not nil, runs until ctx ends.
	Join []func(ctx context.Context, n *peer.Node) (run func())
	// Until, if not nil, keeps the host and its protocols open when the daemon
	// ends, until it is closed: jobs of peers have their time to finish.
	Until <-chan struct{}

	problems *Problems
	ready    chan struct{}
	node     atomic.Pointer[peer.Node]
	table    atomic.Pointer[dht.DHT]
	releases atomic.Pointer[releases.Releases]
}

// NewNetwork returns the task; what goes wrong is added to problems.
func NewNetwork(c peer.Config, problems *Problems) *Network {
	return &Network{Config: c, problems: problems, ready: make(chan struct{})}
}

// Ready is closed once the host listens, or cannot.
func (n *Network) Ready() <-chan struct{} { return n.ready }

// Node is the host, nil before it listens.
func (n *Network) Node() *peer.Node {
	if n == nil {
		return nil
	}
	return n.node.Load()
}

// SetTable notes the node's part of the DHT, and the releases that are found
// there; it is for what Join adds.
func (n *Network) SetTable(table *dht.DHT, found *releases.Releases) {
	n.table.Store(table)
	n.releases.Store(found)
}

// Table is the node's part of the DHT, nil before it is open.
func (n *Network) Table() *dht.DHT {
	if n == nil {
		return nil
	}
	return n.table.Load()
}

// Releases are those that are found in the DHT, nil before it is open.
func (n *Network) Releases() *releases.Releases {
	if n == nil {
		return nil
	}
	return n.releases.Load()
}

// Run opens the host and keeps it in the network.
func (n *Network) Run(ctx context.Context) error {
	node, err := peer.Open(n.Config)
	if err != nil {
		close(n.ready)
		if n.Must {
			return err
		}
		n.problems.Add(fmt.Errorf("%w; this node has no part in the network of nodes", err))
		<-ctx.Done()
		return nil
	}
	defer node.Close()
	var all sync.WaitGroup
	defer all.Wait()
	ctx, end := n.extend(ctx)
	defer end()
	for _, join := range n.Join {
		if run := join(ctx, node); run != nil {
			all.Go(run)
		}
	}
	n.node.Store(node)
	close(n.ready)
	if n.Nearby {
		all.Go(func() {
			if err := node.Nearby(ctx); err != nil {
				n.problems.Add(fmt.Errorf("looking for nodes nearby: %w", err))
			}
		})
	}
	node.Run(ctx)
	return nil
}

// extend returns a context that ends when ctx has and Until is closed.
func (n *Network) extend(ctx context.Context) (context.Context, context.CancelFunc) {
	if n.Until == nil {
		return context.WithCancel(ctx)
	}
	longer, end := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer end()
		<-ctx.Done()
		select {
		case <-n.Until:
		case <-longer.Done():
		}
	}()
	return longer, end
}

// announce tells the announcer where peers reach the node, once it listens.
func (n *Network) announce(ctx context.Context, a *lan.Announcer, fleet string) {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return
	}
	if node := n.Node(); node != nil {
		a.SetPeer(node.Port(), fleet)
	}
}
