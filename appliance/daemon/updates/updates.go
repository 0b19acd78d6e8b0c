// Package updates hands what operators ask on to the program update: questions of
// this machine's users, and orders that admins have signed, from afar. Only update
// decides; what stands in this package can refuse, and can make nothing pass.
package updates

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"phase/appliance/machine/exchange"
	"phase/appliance/release/operator"
)

// Ask asks the update that listens at a socket. The error is a *operator.Refused.
func Ask(ctx context.Context, socket string, q operator.Question) (operator.Answer, error) {
	a := ask(ctx, socket, q)
	if a.Refused != nil {
		return a, a.Refused
	}
	return a, nil
}

// ask is Ask with the answer as it came; where none came, it is refused.
func ask(ctx context.Context, socket string, q operator.Question) (a operator.Answer) {
	err := exchange.Ask(ctx, socket, q, &a, operator.MaxAnswer)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		a.Refused = operator.Refusef(operator.NotANode,
			"nothing here is updated by itself: this daemon is not part of a node, or its program update does not run (yet); update this machine as you installed plasmd, or name a node with --on PEER")
	case err != nil:
		a.Refused = operator.Refusef(operator.Failed, "asking the program update: %v", err)
	}
	return a
}

// Updates asks the update of this machine, and those of other nodes.
type Updates struct {
	Socket string  // of update
	Remote *Client // nil where there is no network
}

// Do asks for an action: here, or with on of the node that has that peer id.
func (u *Updates) Do(ctx context.Context, on string, q operator.Question) (operator.Answer, error) {
	if on == "" {
		return Ask(ctx, u.Socket, q)
	}
	if u.Remote == nil {
		return operator.Answer{}, operator.Refusef(operator.Unreachable, "this daemon has no part in the network of nodes, so it reaches no other; start it without --network off")
	}
	a, err := u.Remote.Do(ctx, on, q)
	if err != nil {
		if _, ok := errors.AsType[*operator.Refused](err); !ok {
			err = operator.Refusef(operator.Unreachable, "%v", fmt.Errorf("asking node %s: %w", on, err))
		}
	}
	return a, err
}
