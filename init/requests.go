package main

import (
	"context"
	"fmt"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/machine/control"
	"phase/appliance/machine/disk/flash"
)

// listen makes the control socket and answers on it.
func (n *node) listen() error {
	l, err := control.Listen(control.Socket)
	if err != nil {
		return err
	}
	go n.report.guard("control socket", func() error {
		return control.Serve(context.Background(), l, n.handle)
	})
	return nil
}

// handle answers one request. Who may ask was checked before.
func (n *node) handle(r control.Request) (control.Response, func()) {
	answer := control.Response{OK: true}
	var after func()
	var err error
	switch r.Do {
	case control.Kexec:
		err, after = n.allowJump(r.Trial, r.Version), func() { n.end(jump) }
	case control.Reboot:
		after = func() { n.end(restart) }
	case control.PowerOff:
		after = func() { n.end(powerOff) }
	case control.Pause:
		err = n.services.pause(r.Service)
	case control.Resume:
		err = n.services.resume()
	case control.Disks:
		answer.Installed = n.installer.shown()
		answer.Disks, err = flash.Candidates()
	case control.Install:
		err = n.install(r.Disk)
	case control.Reset:
		err = n.markReset()
	case control.Status:
		answer.Services = n.services.set.Status()
	case control.Logs:
		answer.Lines, err = n.services.set.Lines(r.Service)
	default:
		err = fmt.Errorf("there is no request %q", r.Do)
	}
	if err != nil {
		return control.Response{Error: err.Error(), Code: string(refusal.CodeOf(err))}, nil
	}
	return answer, after
}

// allowJump counts the try of a release. Nobody jumps without a loaded kernel,
// into a release that was tried too often, or uncounted.
func (n *node) allowJump(digest string, version uint64) error {
	d, err := names.ParseDigest(digest)
	if err != nil {
		return fmt.Errorf("which release is on trial must be said: %w", err)
	}
	loaded, err := n.shutdown.kernel.Loaded()
	if err != nil {
		return err
	}
	if !loaded {
		return fmt.Errorf("no kernel is loaded; load one first")
	}
	return n.trials.begin(d, version, n.expects(d))
}
