package plasmd

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/compute/dispatch"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/peer"
)

// peersCmd shows who is connected to the daemon, and how.
type peersCmd struct {
	asking
	JSON bool `name:"json" short:"j" help:"Print one JSON object."`
}

func (c peersCmd) run(ctx context.Context, stdout io.Writer) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	p, err := client.Peers(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return program.PrintJSON(stdout, p)
	}
	fmt.Fprintf(stdout, "%s, reachable from the internet: %s, %s in the DHT\n",
		ui.Clean(p.Peer), ui.Clean(p.Reachability), ui.Count(p.RoutingTable, "peer"))
	for _, a := range p.Addresses {
		fmt.Fprintln(stdout, "  "+ui.Clean(a))
	}
	rows := [][]string{{"PEER", "PATH", "ADDRESS", "SINCE", "LATENCY", "CAN", "HOLDS", ""}}
	for _, i := range p.Peers {
		can, holds := "", ""
		if r := i.Capability; r != nil {
			can = fmt.Sprintf("%s, %s, %d MiB free, %d running, accepts %s", r.Arch, ui.Count(r.Cores, "core"), r.FreeMB, r.Load.Running, r.Accept)
			if r.Release.Version != 0 {
				holds = fmt.Sprintf("%s %d", r.Release.Channel, r.Release.Version)
			}
		}
		rows = append(rows, []string{
			ui.Clean(i.Peer), ui.Clean(string(i.Path)), ui.Clean(i.Address), i.Since.Local().Format(time.DateTime),
			ui.Duration(time.Duration(i.LatencyMS * float64(time.Millisecond))), ui.Clean(can), ui.Clean(holds), ui.Clean(i.Reason),
		})
	}
	return ui.Table(stdout, rows)
}

// answerTime is how long peers may take to say what they can do, all at once.
const answerTime = 2 * time.Second

// peers is what the API answers of a network. The book asks peers what they can
// do.
func peers(id string, n *tasks.Network, book *dispatch.Book) func(context.Context) api.Peers {
	return func(ctx context.Context) api.Peers {
		p := api.Peers{Peer: id, Addresses: []string{}, Reachability: string(peer.Unknown), Peers: []api.Connected{}}
		if node := n.Node(); node != nil {
			p.Addresses, p.Reachability = node.Addresses(), string(node.Reachability())
			for _, i := range node.Peers() {
				p.Peers = append(p.Peers, api.Connected{Info: i})
			}
		}
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		var all sync.WaitGroup
		for i := range p.Peers {
			all.Go(func() {
				// One that says nothing is listed all the same.
				if c, err := book.Record(ctx, p.Peers[i].Peer); err == nil {
					p.Peers[i].Capability, p.Peers[i].Signed = &c.Record, c.Signed
				}
			})
		}
		all.Wait()
		if table := n.Table(); table != nil {
			p.RoutingTable = table.Size()
		}
		return p
	}
}
