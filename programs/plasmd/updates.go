package plasmd

import (
	"context"
	"strings"

	"phase/appliance/base/identity"
	"phase/appliance/base/statefile"
	"phase/appliance/daemon/tasks"
	"phase/appliance/daemon/updates"
	"phase/appliance/network/capability"
	"phase/appliance/network/frame"
	"phase/appliance/network/peer"
	"phase/appliance/release/operator"
)

// askUpdates has the daemon ask the program update of this machine and, where there
// is a network, those of other nodes in the name of its identity.
func askUpdates(state string, n *tasks.Network, id identity.Identity) *updates.Updates {
	u := &updates.Updates{Socket: operator.SocketIn(state)}
	if n != nil {
		u.Remote = &updates.Client{Self: id.PeerID(), Sign: id.Sign, Dial: func(ctx context.Context, peerID, protocol string) (frame.Stream, error) {
			node, err := joined(ctx, n)
			if err != nil {
				return nil, err
			}
			return node.Dial(ctx, peerID, protocol)
		}}
	}
	return u
}

// takeOrders has the admins of a node, peer ids with a comma between them, reach
// its program update by streams.
func takeOrders(n *tasks.Network, state, list string) {
	server := &updates.Server{Socket: operator.SocketIn(state), Admins: map[string]bool{}}
	for id := range strings.SplitSeq(list, ",") {
		if _, err := identity.ParsePeerID(id); err == nil {
			server.Admins[id] = true
		}
	}
	n.Join = append(n.Join, func(ctx context.Context, node *peer.Node) func() {
		node.Handle(updates.Protocol, func(id string, s peer.Stream) { server.Handle(ctx, id, s) })
		return nil
	})
}

// failedHere are the releases that did not come up on this node, as its program
// update says, for peers to see.
func failedHere(state string) func() []capability.Failed {
	return func() (list []capability.Failed) {
		var u statefile.Update
		if err := statefile.Read(statefile.UpdateFolder(state), statefile.UpdateFile, &u); err != nil {
			return nil
		}
		for _, f := range u.Failed[:min(len(u.Failed), capability.MaxFailed)] {
			list = append(list, capability.Failed{Version: int64(f.Version), Digest: f.Digest, Reason: capability.Plain(f.Reason)})
		}
		return list
	}
}

// takenHere are the releases that this machine took last, as its program update
// says.
func takenHere(state string) func(context.Context) []operator.Taken {
	return func(ctx context.Context) []operator.Taken {
		a, err := updates.Ask(ctx, operator.SocketIn(state), operator.Question{Do: operator.Status})
		if err != nil { // nothing is updated here, or not now
			return nil
		}
		return a.Report.Taken
	}
}
