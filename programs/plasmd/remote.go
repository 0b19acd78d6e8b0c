package plasmd

import (
	"context"
	"errors"
	"fmt"

	"phase/appliance/base/names"
	"phase/appliance/compute/dispatch"
	"phase/appliance/compute/remote"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/capability"
	"phase/appliance/network/capability/bucket"
	"phase/appliance/network/dht"
	"phase/appliance/network/frame"
	"phase/appliance/network/peer"
)

// sendJobs has other nodes run jobs for the users of the daemon, whose peer id is
// self.
func sendJobs(n *tasks.Network, self string) *dispatch.Dispatcher {
	client := &remote.Client{Dial: func(ctx context.Context, peerID, protocol string) (frame.Stream, error) {
		node, err := joined(ctx, n)
		if err != nil {
			return nil, err
		}
		return node.Dial(ctx, peerID, protocol)
	}}
	book := dispatch.NewBook(client.Record, 0)
	return &dispatch.Dispatcher{Client: client, Find: book.Find(workers(n), dispatch.Times{}), Self: self}
}

// joined waits until the daemon has its part in the network.
func joined(ctx context.Context, n *tasks.Network) (*peer.Node, error) {
	select {
	case <-n.Ready():
	case <-ctx.Done():
		return nil, fmt.Errorf("joining the network: %w", context.Cause(ctx))
	}
	if node := n.Node(); node != nil {
		return node, nil
	}
	return nil, errors.New("this node could not join the network; its log says why")
}

// workers sends the peer ids of nodes that may run a job: first those that are
// connected, then those that say in the DHT that they are large enough.
func workers(n *tasks.Network) func(context.Context, capability.Requirement) <-chan string {
	return func(ctx context.Context, want capability.Requirement) <-chan string {
		found := make(chan string)
		go func() {
			defer close(found)
			send := func(id string) bool {
				select {
				case found <- id:
					return true
				case <-ctx.Done():
					return false
				}
			}
			node, err := joined(ctx, n)
			if err != nil {
				return
			}
			for _, p := range node.Peers() {
				if !send(p.Peer) {
					return
				}
			}
			table := n.Table()
			if table == nil {
				return
			}
			for _, name := range bucket.For(want.Arch, want.Cores, want.MemoryMB) {
				for p := range table.Providers(ctx, dht.Bucket(name)) {
					if !send(p.ID.String()) {
						return
					}
				}
			}
		}()
		return found
	}
}

// runJobs has the daemon run the jobs of those that it accepts, and be found by
// those that look for nodes of its size unless it is quiet.
func runJobs(n *tasks.Network, of remote.Config, quiet bool) error {
	server, err := remote.NewServer(of)
	if err != nil {
		return err
	}
	n.Join = append(n.Join, func(ctx context.Context, node *peer.Node) func() {
		node.Handle(remote.JobProtocol, func(id string, s peer.Stream) { server.Job(ctx, id, s) })
		node.Handle(remote.NodeProtocol, func(id string, s peer.Stream) { server.Node(ctx, id, s) })
		if quiet || of.Accept.Kind() == "none" {
			return nil
		}
		return func() { offer(ctx, n, of) }
	})
	return nil
}

// offer says in the DHT how large the node is.
func offer(ctx context.Context, n *tasks.Network, of remote.Config) {
	if _, err := joined(ctx, n); err != nil {
		return
	}
	table := n.Table()
	if table == nil {
		return
	}
	load := of.Runs.Load()
	var list []names.Digest
	for _, name := range bucket.Of(of.Arch, load.Cores, load.MemoryMB) {
		list = append(list, dht.Bucket(name))
	}
	table.Provide("capabilities", list...)
}
