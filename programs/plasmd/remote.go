package plasmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"phase/appliance/base/names"
	"phase/appliance/compute/dispatch"
	"phase/appliance/compute/remote"
	"phase/appliance/daemon/status"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/capability"
	"phase/appliance/network/capability/bucket"
	"phase/appliance/network/dht"
	"phase/appliance/network/frame"
	"phase/appliance/network/peer"
)

// sendJobs has other nodes run jobs for the users of the daemon, whose peer id is
// self. The book is of what those nodes can do.
func sendJobs(n *tasks.Network, self string) (*dispatch.Dispatcher, *dispatch.Book) {
	client := &remote.Client{Dial: func(ctx context.Context, peerID, protocol string) (frame.Stream, error) {
		node, err := joined(ctx, n)
		if err != nil {
			return nil, err
		}
		return node.Dial(ctx, peerID, protocol)
	}}
	book := dispatch.NewBook(client.Record, 0)
	d := &dispatch.Dispatcher{Client: client, Find: book.Find(workers(n), dispatch.Times{}), Self: self}
	shown(n, "phase_jobs_sent_total", "Attempts to have another node run a job, by what came of them.", d.Counts)
	return d, book
}

// shown shows counts as a metric once the network is joined.
func shown(n *tasks.Network, name, help string, counts func() map[string]uint64) {
	n.Join = append(n.Join, func(context.Context, *peer.Node) func() {
		if err := status.Counts(n.Config.Metrics, name, help, "result", counts); err != nil {
			slog.Warn("a metric is not shown", "name", name, "error", err)
		}
		return nil
	})
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
			var all sync.WaitGroup // at once: each search goes on to its deadline
			for _, name := range bucket.For(want.Arch, want.Cores, want.MemoryMB) {
				all.Go(func() {
					for p := range table.Providers(ctx, dht.Bucket(name)) {
						if !send(p.ID.String()) {
							return
						}
					}
				})
			}
			all.Wait()
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
	shown(n, "phase_jobs_received_total", "Streams for jobs that other nodes opened, by what came of them.", server.Counts)
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
