package update

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/base/ui"
	"phase/appliance/machine/control"
	"phase/appliance/machine/exchange"
	"phase/appliance/machine/settings"
	"phase/appliance/release/operator"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trust"
	"phase/appliance/release/update"
)

// desk answers what operators ask. Its socket is there in every state of the
// program; what an answer needs is nil where there is none.
type desk struct {
	commandLine
	node     *node            // nil: which release runs is not known
	operator *update.Operator // nil: updates are off
	gate     *operator.Gate
	signed   bool   // only orders that an admin has signed change anything
	off      string // why updates are off, in words
	peer     string // of the node, "" without a lasting one

	mu sync.Mutex // guards gate
}

// open makes the socket and answers on it until ctx ends.
func (d *desk) open(ctx context.Context) error {
	path := operator.SocketIn(d.State)
	folder := filepath.Dir(path)
	err := os.MkdirAll(folder, 0o750)
	if err == nil { // whatever the umask
		err = os.Chmod(folder, 0o750)
	}
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(folder, 0, d.Group)
	}
	if err != nil {
		return fmt.Errorf("making the socket for operators: %w", err)
	}
	l, err := exchange.Listen(path, 0o660)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(path, 0, d.Group)
	}
	if err != nil {
		return fmt.Errorf("making the socket for operators: %w", err)
	}
	go func() {
		if err := exchange.Serve(ctx, l, operator.MaxQuestion, d.answer); err != nil {
			slog.Error(fmt.Sprintf("answering operators: %v", err))
		}
	}()
	return nil
}

// admins are who may sign orders, of the settings.
func admins(list string) map[string]ed25519.PublicKey {
	keys := map[string]ed25519.PublicKey{}
	for peer := range strings.SplitSeq(list, ",") {
		if key, err := identity.ParsePeerID(peer); err == nil {
			keys[peer] = key
		}
	}
	return keys
}

func (d *desk) answer(ctx context.Context, _ uint32, question []byte, err error) (any, func()) {
	var after func()
	var a operator.Answer
	var q operator.Question
	if err == nil {
		q, err = operator.ParseQuestion(question)
	} else {
		err = operator.Refusef(operator.InvalidRequest, "%v", err)
	}
	switch {
	case err != nil:
	case q.Do == operator.Challenge:
		d.mu.Lock()
		a.Challenge, err = d.gate.Challenge(time.Now())
		d.mu.Unlock()
		if err == nil {
			return a, nil
		}
	default:
		after, err = d.do(ctx, q, &a)
	}
	if err != nil {
		a.Refused = operator.AsRefused(err)
		slog.Info(fmt.Sprintf("an operator's request is refused: %s", ui.Clean(a.Refused.Detail)))
		if a.Refused.Code == operator.NotAuthorized || a.Refused.Code == operator.InvalidRequest {
			return a, nil // nothing is told to those who may not ask
		}
	}
	a.Report = d.report()
	return a, after
}

// do carries a question out, and puts into an answer what came of it.
func (d *desk) do(ctx context.Context, q operator.Question, a *operator.Answer) (after func(), err error) {
	by := "here"
	if len(q.Order) > 0 {
		d.mu.Lock()
		order, admin, err := d.gate.Admit(q.Order, time.Now())
		d.mu.Unlock()
		if err != nil {
			return nil, err
		}
		q, by = order.Asked(), admin
	} else if !d.signed && operator.Destroys(q.Do) {
		return nil, operator.Refusef(operator.NotAuthorized,
			"this takes the order of an admin, and this node has none: flash its medium with phase.admin (images flash --admin PEER), where --keep keeps the node")
	} else if d.signed && !operator.Looks(q.Do) {
		return nil, operator.Refusef(operator.NotAuthorized,
			"this node takes orders from its admins alone (phase.admin): run `plasmd %s --on PEER` on the machine of one of them", command(q.Do))
	}
	if !operator.Looks(q.Do) {
		slog.Info(fmt.Sprintf("an operator asks to %s, by %s", q.Do, by))
	}
	switch {
	case q.Do == operator.Status:
		return nil, nil
	case ofMachine(q.Do):
		return d.machine(ctx, q, a)
	case d.operator == nil:
		return nil, operator.Refusef(operator.Conflict, "%s", d.off)
	}
	switch q.Do {
	case operator.Check:
		a.Did, err = d.check(ctx)
	case operator.Apply:
		a.Did, err = d.apply(ctx, by, q.Release)
	case operator.Rollback:
		a.Did, after, err = d.rollback(ctx, by)
	case operator.Hold:
		a.Did, err = d.hold(ctx, by)
	case operator.Resume:
		a.Did, err = d.resume(ctx)
	}
	return after, err
}

// command is what a person types for an action.
func command(do string) string {
	switch do {
	case operator.Install:
		return "install DISK"
	case operator.Reset:
		return "factory-reset"
	}
	return "update " + do
}

// now is the clock, which signed material keeps from being far behind.
func (d *desk) now() time.Time {
	if d.node == nil {
		return time.Now()
	}
	return d.node.now()
}

func (d *desk) check(ctx context.Context) (string, error) {
	f, err := d.operator.Check(ctx)
	if err != nil {
		return "", err
	}
	asked := ui.Count(f.Providers, "provider") + " asked"
	if f.Silent > 0 {
		asked += fmt.Sprintf(", %d did not answer", f.Silent)
	}
	switch {
	case !f.Newest.Valid():
		return asked + "; none has a newer release that passes every check", nil
	case f.Why != "":
		return fmt.Sprintf("%s; version %d is there, and is not taken now: %s", asked, f.Newest.Manifest().Version, f.Why), nil
	}
	return fmt.Sprintf("%s; version %d is there, and is being taken", asked, f.Newest.Manifest().Version), nil
}

func (d *desk) apply(ctx context.Context, by, release string) (string, error) {
	var want names.Digest
	if release != "" {
		var err error
		if want, err = names.ParseDigest(release); err != nil {
			return "", operator.Refusef(operator.InvalidRequest, "release: %v", err)
		}
	}
	var move func(trust.Verified) error
	if d.node.kept != nil {
		move = d.node.kept.Moving
	}
	v, err := d.operator.Apply(ctx, by, want, move)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("taking version %d %s", v.Manifest().Version, v.Digest()), nil
}

// errNoStore is why a node cannot be kept on a release.
var errNoStore = operator.Refusef(operator.Conflict, "this node keeps nothing on a disk, so it cannot be held on a release; phase.update=off keeps it from taking others")

func (d *desk) hold(ctx context.Context, by string) (string, error) {
	return d.pin(ctx, by, d.node.running)
}

// pin keeps the node on a release.
func (d *desk) pin(ctx context.Context, by string, v trust.Verified) (string, error) {
	if d.node.kept == nil {
		return "", errNoStore
	}
	version := v.Manifest().Version
	err := d.operator.Repin(ctx, func() error {
		return d.node.kept.Store.SetPin(disk.Pin{Release: v.Digest(), Version: version, By: by, At: d.now().UTC()})
	})
	return fmt.Sprintf("held on version %d; `plasmd update resume` lets go", version), err
}

func (d *desk) resume(ctx context.Context) (string, error) {
	if d.node.kept == nil {
		return "", errNoStore
	}
	err := d.operator.Repin(ctx, func() error { return d.node.kept.Store.SetPin(disk.Pin{}) })
	return "newer releases are taken again", err
}

// rollback goes back to the newest good release that is older than the running
// one: one in the store, into which the loop jumps, or the stub, for which the
// machine restarts.
func (d *desk) rollback(ctx context.Context, by string) (string, func(), error) {
	if d.node.kept == nil {
		return "", nil, errNoStore
	}
	older, inStore := d.node.kept.Older()
	stub, err := d.node.stub()
	isStub := err == nil && stub.Digest() != d.node.running.Digest() && stub.Manifest().Version < d.node.running.Manifest().Version &&
		(!inStore || stub.Manifest().Version > older.Manifest().Version)
	if !isStub && !inStore {
		return "", nil, operator.Refusef(operator.Conflict, "there is no older release to go back to: none in the store was good here, and the stub is not older")
	}
	if isStub {
		older = stub
	}
	if did, err := d.pin(ctx, by, older); err != nil || !isStub {
		return "going back to a release in the store, " + did, nil, err
	}
	return fmt.Sprintf("going back to the stub, version %d, by a restart; held there, `plasmd update resume` lets go", older.Manifest().Version), d.restart(ctx), nil
}

// restart is what restarts the machine, once the answer has been sent: a restart
// in between would end plasmd, which hands the answer on.
func (d *desk) restart(ctx context.Context) func() {
	ctx = context.WithoutCancel(ctx)
	return func() {
		undo := func() {}
		if d.node != nil {
			undo = d.node.drain(ctx)
		}
		if _, err := control.Do(ctx, control.Socket, control.Request{Do: control.Reboot}); err != nil {
			undo()
			slog.Error(fmt.Sprintf("restarting as an operator asked: %v; restart the machine by hand", err))
		}
	}
}

// deskOf is the desk of a node; b is what init wrote of it.
func deskOf(c commandLine, n *node, o settings.Options, data string) *desk {
	peer := ""
	id, err := identity.Kept(data)
	if err == nil && o.Mode != settings.Private {
		peer = id.PeerID()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		slog.Warn(fmt.Sprintf("%v; no order from afar is taken", err))
	}
	if n != nil {
		n.peer = peer
	}
	d := &desk{commandLine: c, node: n, peer: peer, signed: o.Admin != "", off: "updates are off on this node (phase.update=off)"}
	d.gate = operator.NewGate(peer, admins(o.Admin), rand.Reader)
	return d
}
