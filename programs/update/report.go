package update

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/operator"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// report is how the updates of this node stand. It reads what the other programs
// see too, so nothing in it is out of date.
func (d *desk) report() operator.Report {
	r := operator.Report{
		Clock: time.Now().UTC(), State: "off", Watchdog: "none",
		Releases: []operator.Release{}, Taken: []operator.Taken{}, Attempts: []statefile.Attempt{}, Failures: []operator.Failure{}, Problems: []string{},
	}
	var u statefile.Update
	if err := statefile.Read(statefile.UpdateFolder(d.State), statefile.UpdateFile, &u); err == nil {
		r.State, r.Waiting, r.Applying = u.State, u.Waiting, u.Applying
		r.Attempts = append(r.Attempts, u.History...)
		if u.Last != nil && len(u.History) == 0 {
			r.Attempts = append(r.Attempts, *u.Last)
		}
	}
	if d.node == nil {
		r.Problems = append(r.Problems, d.off)
		return r
	}
	d.node.describe(&r)
	return r
}

// describe adds what is known of a node.
func (n *node) describe(r *operator.Report) {
	root := n.roots.Last()
	o := n.options
	r.Node, r.Channel, r.Window, r.Admins = n.peer, o.Channel, o.Window, o.Admin
	r.Watchdog, r.RequireWatchdog = n.watchdog, o.RequireWatchdog
	r.Root = operator.Root{Version: root.Version(), Expires: root.Expires()}
	r.Floor = n.running.Manifest().Version
	now := n.now()
	for what, expires := range map[string]bool{"the root": root.Expires().Before(now), "the release that runs": n.running.Manifest().Expires.Before(now)} {
		if expires {
			r.Problems = append(r.Problems, what+" has expired: what is held still boots; a new one must be signed")
		}
	}
	slices.Sort(r.Problems)
	r.Failures = append(r.Failures, n.failures.all()...)
	if stub, err := n.stub(); err == nil {
		r.Releases = append(r.Releases, release(stub, "stub", stub.Digest() == n.running.Digest()))
	}
	if n.kept != nil {
		n.describeStore(r)
	}
	running := release(n.running, string(trial.Held), true)
	if n.carried == nil {
		running.State = "stub"
	}
	for i, known := range r.Releases {
		if known.Running {
			running = r.Releases[i]
		}
	}
	r.Running = &running
}

// describeStore adds what is in the store.
func (n *node) describeStore(r *operator.Report) {
	floor, _ := n.kept.Floor()
	r.Floor = max(r.Floor, floor)
	if pin := n.kept.Store.Pin(); !pin.Release.IsZero() {
		r.Held = &operator.Pin{Version: pin.Version, Digest: pin.Release.String(), By: pin.By, At: pin.At}
	}
	r.Taken = append(r.Taken, n.kept.Store.Taken()...)
	var list []operator.Release
	for _, c := range n.kept.List() {
		one := release(c.Verified, string(c.Record.State()), c.Digest() == n.running.Digest())
		one.Tries, one.Reason, one.Damaged = c.Record.Tries, c.Record.Reason, !c.Whole()
		if c.Record.Tries > 0 && !(one.Running && c.Record.Good) {
			one.Next = c.Record.Next()
		}
		list = append(list, one)
	}
	r.Releases = append(list, r.Releases...)
}

func release(v trust.Verified, state string, running bool) operator.Release {
	m := v.Manifest()
	return operator.Release{
		Version: m.Version, Digest: v.Digest().String(), Name: m.Name, Channel: m.Channel, State: state, Running: running, Expires: m.Expires,
	}
}

// stub is the release on the boot disk. It was trusted when it was flashed, so any
// root of the chain may vouch for it.
func (n *node) stub() (trust.Verified, error) {
	data, err := statefile.ReadCapped(filepath.Join(n.Boot, layout.ManifestFile), envelope.MaxBytes)
	if err != nil {
		return trust.Verified{}, fmt.Errorf("reading the manifest of the stub: %w", err)
	}
	var errs []error
	for _, root := range n.roots.List() {
		v, err := root.VerifyHeld(data, trust.Any, n.running.Manifest().Arch)
		if err == nil {
			return v, nil
		}
		errs = append(errs, err)
	}
	return trust.Verified{}, fmt.Errorf("the manifest of the stub: %w", errors.Join(errs...))
}
