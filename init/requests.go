package main

import (
	"context"
	"fmt"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/machine/control"
	"phase/appliance/machine/linux"
)

// pauseTime is how long services may be paused: whoever paused them may have
// died meanwhile.
const pauseTime = 3 * time.Minute

// listen makes the control socket and answers on it.
func (n *node) listen() error {
	l, err := control.Listen(control.Socket)
	if err != nil {
		return err
	}
	go n.guard(step{"control socket", func(n *node) error {
		return control.Serve(context.Background(), l, n.handle)
	}})
	return nil
}

// handle answers one request. Who may ask was checked before.
func (n *node) handle(_ control.Peer, r control.Request) (control.Response, func()) {
	refuse := func(err error) (control.Response, func()) {
		return control.Response{Error: err.Error(), Code: string(refusal.CodeOf(err))}, nil
	}
	finish := func(e ending) (control.Response, func()) {
		return control.Response{OK: true}, func() { n.guard(step{"ending", func(n *node) error { n.end(e); return nil }}) }
	}
	switch r.Do {
	case control.Kexec:
		if err := n.allowJump(r.Trial); err != nil {
			return refuse(err)
		}
		return finish(jump)
	case control.Reboot:
		return finish(restart)
	case control.PowerOff:
		return finish(powerOff)
	case control.Pause:
		return n.pause(r.Service), nil
	case control.Resume:
		return n.resume(), nil
	case control.Status:
		return control.Response{OK: true, Services: n.services.Status()}, nil
	case control.Logs:
		lines, err := n.services.Lines(r.Service)
		if err != nil {
			return refuse(err)
		}
		return control.Response{OK: true, Lines: lines}, nil
	}
	return refuse(fmt.Errorf("there is no request %q", r.Do))
}

// allowJump counts the try of a release. Nobody jumps without a loaded kernel,
// into a release that was tried too often, or uncounted.
func (n *node) allowJump(digest string) error {
	d, err := names.ParseDigest(digest)
	if err != nil {
		return fmt.Errorf("which release is on trial must be said: %w", err)
	}
	loaded, err := n.kernel.Loaded()
	if err != nil {
		return err
	}
	if !loaded {
		return fmt.Errorf("no kernel is loaded; load one first")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.journal.Failed(d) {
		return refusal.New(refusal.FailedBefore, "release %s was tried and did not come up", d)
	}
	if err := n.journal.Begin(d); err != nil {
		return err
	}
	n.say("jumping to release %s is counted (%s)", d, n.journal.Where())
	return nil
}

// pause stops every service but one, so that their memory can hold a kernel.
// They come back when asked for, or by themselves after a while.
func (n *node) pause(spare string) control.Response {
	n.mu.Lock()
	if n.ending {
		n.mu.Unlock()
		return control.Response{Error: "this machine is stopping"}
	}
	if n.unpause == nil {
		n.unpause = time.AfterFunc(pauseTime, func() { n.resume() })
	}
	n.mu.Unlock()
	n.say("pausing the services to free their memory")
	n.services.Stop(spare)
	if err := linux.DropCaches(); err != nil {
		return control.Response{Error: err.Error()}
	}
	return control.Response{OK: true}
}

func (n *node) resume() control.Response {
	n.mu.Lock()
	if n.ending || n.unpause == nil {
		n.mu.Unlock()
		return control.Response{Error: "the services are not paused"}
	}
	n.unpause.Stop()
	n.unpause = nil
	n.mu.Unlock()
	running := map[string]bool{}
	for _, s := range n.services.Status() {
		running[s.Name] = true
	}
	n.say("starting the services again")
	for _, s := range table(n.options, n.boot.Data, n.plasmdGroup) {
		if s.Env = environment; !running[s.Name] {
			if err := n.services.Start(s); err != nil {
				return control.Response{Error: err.Error()}
			}
		}
	}
	return control.Response{OK: true}
}
