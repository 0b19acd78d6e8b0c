package update

import (
	"context"
	"fmt"
	"slices"

	"phase/appliance/machine/control"
	"phase/appliance/release/operator"
)

// ofMachine says whether an action is init's work.
func ofMachine(do string) bool {
	return slices.Contains([]string{operator.Disks, operator.Install, operator.Reset}, do)
}

// machine has init do what only it may.
func (d *desk) machine(ctx context.Context, q operator.Question, a *operator.Answer) (after func(), err error) {
	if q.Do == operator.Reset && q.Erase != d.peer {
		if d.peer == "" {
			return nil, operator.Refusef(operator.Conflict, "this node keeps nothing that lasts, so there is nothing to forget: a restart is enough")
		}
		return nil, operator.Refusef(operator.InvalidRequest, "what is to be erased is %.60q, and this node is %s", q.Erase, d.peer)
	}
	answer, err := control.Do(ctx, control.Socket, control.Request{Do: q.Do, Disk: q.Disk})
	if err != nil {
		return nil, operator.Refusef(operator.Conflict, "%v", err)
	}
	a.Disks, a.Installed = answer.Disks, answer.Installed
	switch q.Do {
	case operator.Install:
		a.Did = fmt.Sprintf("writing %s", q.Disk)
	case operator.Reset:
		a.Did = "restarting, with nothing kept; from then on this node has another identity"
		return d.restart(ctx), nil
	}
	return nil, nil
}
