package plasmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
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
	rows := [][]string{{"PEER", "PATH", "ADDRESS", "SINCE", "LATENCY", "PROGRAM", ""}}
	for _, i := range p.Peers {
		rows = append(rows, []string{
			ui.Clean(i.Peer), ui.Clean(string(i.Path)), ui.Clean(i.Address), i.Since.Local().Format(time.DateTime),
			ui.Duration(time.Duration(i.LatencyMS * float64(time.Millisecond))), ui.Clean(i.Agent), ui.Clean(i.Reason),
		})
	}
	return ui.Table(stdout, rows)
}

// peers is what the API answers of a network, nil without one.
func peers(id string, n *tasks.Network) func() api.Peers {
	if n == nil {
		return nil
	}
	return func() api.Peers {
		p := api.Peers{Peer: id, Addresses: []string{}, Reachability: string(peer.Unknown), Peers: []peer.Info{}}
		if node := n.Node(); node != nil {
			p.Addresses, p.Reachability, p.Peers = node.Addresses(), string(node.Reachability()), node.Peers()
		}
		if table := n.Table(); table != nil {
			p.RoutingTable = table.Size()
		}
		return p
	}
}
