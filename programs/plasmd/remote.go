package plasmd

import (
	"context"
	"errors"

	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/frame"
)

// dial opens streams to other nodes once the daemon has a part in the network.
func dial(n *tasks.Network) remote.Dial {
	return func(ctx context.Context, peerID, protocol string) (frame.Stream, error) {
		select {
		case <-n.Ready():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		node := n.Node()
		if node == nil {
			return nil, errors.New("this node could not join the network; its log says why")
		}
		return node.Dial(ctx, peerID, protocol)
	}
}

// named runs jobs on peers that are named.
type named struct{ client *remote.Client }

func (d named) Run(ctx context.Context, w remote.Where, o scheduler.Offer, p remote.Progress) (remote.Outcome, error) {
	if w.On == remote.Auto {
		return remote.Outcome{}, &remote.PeerError{Peer: "auto", Failure: remote.Unreachable, Err: errors.New("not yet")}
	}
	if p.Accepted != nil {
		p.Accepted(w.On, scheduler.NewRunID())
		p.Running()
	}
	done, err := d.client.Run(ctx, w.On, o)
	a := remote.Attempt{Peer: w.On, Result: remote.ResultDone}
	if err != nil {
		a.Result, a.Reason = string(remote.FailureOf(err)), err.Error()
	}
	return remote.Outcome{Done: done, Worker: w.On, Attempts: []remote.Attempt{a}}, err
}
