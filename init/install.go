package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"phase/appliance/machine/control"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
)

// installer writes one disk at a time.
type installer struct {
	mu   sync.Mutex
	last *control.Installation
}

// shown is a copy of how the last installation stands.
func (i *installer) shown() *control.Installation {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last == nil {
		return nil
	}
	shown := *i.last
	return &shown
}

// begin notes an installation, unless one goes on.
func (i *installer) begin(disk string, total int64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last != nil && i.last.Doing != control.InstallDone {
		return fmt.Errorf("%s is being written; wait until that is done", i.last.Disk)
	}
	i.last = &control.Installation{Disk: disk, Total: total}
	return nil
}

func (i *installer) change(how func(*control.Installation)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	how(i.last)
}

// stage is for flash.Plan.Put.
func (i *installer) stage(what string) func(n int64) {
	i.change(func(s *control.Installation) { s.Doing, s.Bytes = what, 0 })
	return func(n int64) { i.change(func(s *control.Installation) { s.Bytes += n }) }
}

// install writes what this node was started from, the stub with its settings, to
// another disk, as a node of its own: with identifiers of its own, and nothing of
// what this one keeps. It returns once that has begun.
func (n *node) install(device string) error {
	switch {
	case n.options.NoWrite:
		return errors.New("this node writes to no disk (phase.mode=private or phase.nowrite=on)")
	case n.disk == nil:
		return errors.New("this node was not started from a disk, so there is nothing to copy: flash the disk on another machine")
	}
	there, err := flash.Candidates()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(there, func(c flash.Candidate) bool { return c.Device == device })
	if i < 0 {
		return fmt.Errorf("there is no disk %q here", device)
	}
	if there[i].Refused != "" {
		return errors.New(there[i].Refused)
	}
	target, err := flash.OpenTarget(device, true)
	if err != nil {
		return err
	}
	plan, from, err := n.planInstall(target)
	if err == nil {
		err = n.installer.begin(device, plan.Length)
	}
	if err != nil {
		return errors.Join(err, from.close(), target.Close())
	}
	n.report.say("installing on %s (%s), as disk %s", device, there[i].Model, plan.ID())
	go n.report.guard("installing", func() error {
		err := errors.Join(plan.Put(context.Background(), target, n.installer.stage), from.close(), target.Close())
		n.installer.change(func(s *control.Installation) {
			if s.Doing = control.InstallDone; err != nil {
				s.Failed = err.Error()
			}
		})
		if err != nil { // no problem of this node's
			n.report.say("installing on %s: %v", device, err)
			return nil
		}
		n.report.say("installed on %s: it starts by itself from now on, without the medium this node was started from", device)
		return nil
	})
	return nil
}

// opened are files that are read while a disk is written.
type opened []*os.File

func (o opened) close() (err error) {
	for _, f := range o {
		err = errors.Join(err, f.Close())
	}
	return err
}

// planInstall works out what goes onto a disk.
func (n *node) planInstall(target *flash.Target) (*flash.Plan, opened, error) {
	var from opened
	for _, path := range []string{"/dev/" + n.disk.Disk, permTemplate} {
		f, err := os.Open(path)
		if err != nil {
			return nil, from, err
		}
		from = append(from, f)
	}
	image, err := flash.Fresh(from[0], from[1])
	if err != nil {
		return nil, from, fmt.Errorf("reading the disk this node was started from: %w", err)
	}
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // never fails (crypto/rand)
	plan, err := flash.Prepare(image, target.Geometry, gpt.NewID(seed[:]), nil)
	return plan, from, err
}
