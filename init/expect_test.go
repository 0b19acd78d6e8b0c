package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"phase/appliance/machine/supervise"
	"phase/appliance/release/trial"
)

// TestExpectedAgain: a try that is begun again at power-on, before a service runs, is
// to bring back what its first try was to.
func TestExpectedAgain(t *testing.T) {
	dir, had := t.TempDir(), trial.Expect{Network: true, Peers: true}
	journalOf := func(boot string) trial.Journal {
		return trial.InFolder(dir, trial.Boot{ID: boot, Up: func() time.Duration { return time.Minute }})
	}
	if err := journalOf("one").Begin(onTrial, 1, had); err != nil {
		t.Fatal(err)
	}
	n := newTestNode(t)
	n.trials.open = func() journal { return journalOf("two") }
	if err := n.allowJump(onTrial.String(), 1); err != nil {
		t.Fatal(err)
	}
	if r, err := journalOf("three").Find(onTrial); err != nil || r.Tries != 2 || r.Expect != had {
		t.Errorf("%+v, %v", r, err)
	}
	n.services.table = []supervise.Service{{Name: "plasmd"}} // from now on it is what there is
	n.trials.open, n.trials.journal = func() journal { return journalOf("three") }, nil
	if e := n.expects(onTrial); e != (trial.Expect{}) {
		t.Errorf("with services it expects %+v", e)
	}
}

// TestExpectedFirst: a release that is first tried at power-on is to bring back the
// network that the machine had when it last ran. One boot without it changes nothing
// until it has lasted.
func TestExpectedFirst(t *testing.T) {
	dir := t.TempDir()
	boot := func() *testNode {
		n := newTestNode(t)
		n.had.folder = dir
		return n
	}
	expects := func(want bool) {
		t.Helper()
		if e := boot().expects(onTrial); e != (trial.Expect{Network: want}) {
			t.Errorf("it expects %+v", e)
		}
	}
	note := func(n *testNode, now, lasted bool) {
		t.Helper()
		if err := n.had.note(now, lasted); err != nil {
			t.Fatal(err)
		}
	}
	expects(false)
	n := boot()
	note(n, false, false)
	expects(false)
	note(n, true, false)
	expects(true)
	note(n, false, true) // it had one in this boot
	expects(true)
	n = boot()
	note(n, false, false)
	expects(true)
	note(n, false, true)
	expects(false)
	if err := os.WriteFile(filepath.Join(dir, hadFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	expects(false)
	n.had.folder = filepath.Join(dir, "gone")
	if err := n.had.note(true, false); err == nil {
		t.Error("it was kept nowhere")
	}
	if err := n.had.note(true, false); err != nil {
		t.Errorf("said twice: %v", err)
	}
}
