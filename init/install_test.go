package main

import (
	"strings"
	"testing"

	"phase/appliance/machine/control"
	"phase/appliance/machine/disk"
)

// What cannot be installed or forgotten is said in words, and nothing ends.
func TestInstallAndResetRefused(t *testing.T) {
	for says, c := range map[string]struct {
		do      string
		prepare func(*node)
	}{
		"writes to no disk":             {control.Install, func(n *node) { n.options.NoWrite, n.disk = true, &disk.Partition{Disk: "sda"} }},
		"not started from a disk":       {control.Install, func(*node) {}},
		`no disk "/dev/none"`:           {control.Install, func(n *node) { n.disk = &disk.Partition{Disk: "sda"} }},
		"so there is nothing to forget": {control.Reset, func(*node) {}},
	} {
		n := newTestNode(t)
		c.prepare(n.node)
		answer, after := n.handle(control.Request{Do: c.do, Disk: "/dev/none"})
		if answer.OK || !strings.Contains(answer.Error, says) {
			t.Errorf("%s: %+v", says, answer)
		}
		if after != nil {
			t.Errorf("%s: something is done after the refusal", says)
		}
		n.events.want(t)
	}
}

// One disk at a time, and how far it is.
func TestInstallerTakesOne(t *testing.T) {
	var i installer
	if i.shown() != nil {
		t.Error("something is installed before anything was asked for")
	}
	if err := i.begin("/dev/sda", 10); err != nil {
		t.Fatal(err)
	}
	add := i.stage("writing")
	add(3)
	add(4)
	if is := i.shown(); *is != (control.Installation{Disk: "/dev/sda", Doing: "writing", Bytes: 7, Total: 10}) {
		t.Errorf("%+v", is)
	}
	if err := i.begin("/dev/sdb", 10); err == nil || !strings.Contains(err.Error(), "/dev/sda is being written") {
		t.Errorf("a second one: %v", err)
	}
	i.change(func(s *control.Installation) { s.Doing = control.InstallDone })
	if err := i.begin("/dev/sdb", 10); err != nil {
		t.Error(err)
	}
}
