package update

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/daemon/api"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/release/rollout"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// out says why a release is not offered to this node yet. A node without a lasting
// peer id has no place in the order, and comes when all do.
func (n *node) out(v trust.Verified) string {
	m := v.Manifest()
	if m.Rollout == nil || n.peer != "" && rollout.Takes(m, n.peer) || n.peer == "" && m.Rollout.Percent == 100 {
		return ""
	}
	return fmt.Sprintf("it is offered to %d %% of the nodes so far, and this one is not among them", m.Rollout.Percent)
}

// may says why no release is taken by itself now.
func (n *node) may(v trust.Verified) (why string, until time.Time) {
	if err := n.guarded(v); err != nil {
		return err.Error(), time.Time{}
	}
	if f, ok := n.failures.against(v.Digest()); ok {
		return fmt.Sprintf("it did not come up at %s, which is on the operator's list: %s; `plasmd update apply` takes it all the same", f.Peer, f.Reason), time.Time{}
	}
	window, err := settings.ParseWindow(n.options.Window)
	if err != nil {
		return err.Error(), time.Time{} // settings has refused it before
	}
	now := n.now()
	switch opens := window.Opens(now); {
	case opens.IsZero():
		return "releases are taken on demand alone (phase.window=never); `plasmd update apply` takes it", time.Time{}
	case opens.After(now):
		return fmt.Sprintf("outside of the window %s UTC; `plasmd update apply` takes it now", n.options.Window), opens
	}
	return "", time.Time{}
}

// guarded refuses to begin the trial of a release on a machine without a watchdog,
// where its owner wants one. A release that is good here needs none.
func (n *node) guarded(v trust.Verified) error {
	if !n.options.RequireWatchdog || linux.HardwareWatchdog(n.watchdog) {
		return nil
	}
	if record, err := trial.Here().Find(v.Digest()); err == nil && record.Good {
		return nil
	}
	return refusal.New(refusal.Busy, "this machine has no hardware watchdog, without which no release is tried here (phase.require_watchdog=on): one that hangs would need a person to switch it off")
}

// drainTime is how long jobs have to end before a jump; plasmd refuses new ones
// meanwhile.
const drainTime = 30 * time.Second

// drain has plasmd end what it runs. One that does not answer is not waited for: it
// must not keep a node from an update.
func (n *node) drain(ctx context.Context) (undo func()) {
	client := api.NewClient(n.Socket)
	asking, cancel := context.WithTimeout(ctx, drainTime+5*time.Second)
	defer cancel()
	left, err := client.Drain(asking, drainTime)
	switch {
	case err != nil:
		slog.Warn(fmt.Sprintf("jobs are not waited for: %v", err))
	case left > 0:
		slog.Warn(fmt.Sprintf("%s not ended in %v: cut off", ui.Count(left, "job"), drainTime))
	}
	return func() {
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := client.Undrain(asking); err != nil {
			slog.Warn(fmt.Sprintf("taking jobs again: %v", err))
		}
	}
}

// now is the clock, which signed material keeps from being far behind.
func (n *node) now() time.Time { return trust.Now(time.Now(), n.running.Manifest().Created) }
