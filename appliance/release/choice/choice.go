// Package choice decides which of the releases on its disk a node starts instead
// of the one it runs: the newest good one, or one that has tries left.
package choice

import (
	"fmt"
	"slices"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// Node is what the choice is made for.
type Node struct {
	Running trust.Verified // the release that runs, which is what is left when nothing is chosen
	Channel string
	Trials  bool          // releases that are not good yet may be tried
	Up      time.Duration // since the machine started
	// Pin is the release that the owner went back to, and stays on. Zero: none.
	Pin names.Digest
	// Next is one that the owner asked for meanwhile. Zero: none.
	Next names.Digest
}

// Candidate is a release in the store, and what is known of it.
type Candidate struct {
	disk.Release
	Record trial.Record
}

// Refusal says why a release is not started now, in words; "" when it may be.
func (n Node) Refusal(c Candidate) string {
	m, running := c.Manifest(), n.Running.Manifest()
	up, again := trial.Wait(c.Record.Tries, c.Record.Good)
	switch {
	case c.Digest() == n.Running.Digest():
		return "it runs"
	case m.Channel != n.Channel:
		return "it is on channel " + m.Channel
	case !n.Pin.IsZero() && c.Digest() != n.Pin && c.Digest() != n.Next:
		return "this node is held on another one"
	case !n.Pin.IsZero() && n.Running.Digest() == n.Next:
		return "the owner left it for the one that runs"
	case n.Pin.IsZero() && running.Channel == m.Channel && m.Version <= running.Version:
		return fmt.Sprintf("it is not newer than version %d, which runs", running.Version)
	case !c.Whole():
		return fmt.Sprintf("it is damaged: %q missing", c.Missing)
	case !c.Record.Good && !n.Trials:
		return "it was not tried yet, and updates are off"
	case !again || up > n.Up:
		return fmt.Sprintf("it %s; %s", c.Record.Fate(), c.Record.Next())
	}
	return ""
}

// Order lists what may be started now, in the order in which it is tried: good
// releases and trials by version, newest first.
func (n Node) Order(list []Candidate) []Candidate {
	may := slices.DeleteFunc(slices.Clone(list), func(c Candidate) bool { return n.Refusal(c) != "" })
	slices.SortStableFunc(may, func(a, b Candidate) int {
		if va, vb := a.Manifest().Version, b.Manifest().Version; va != vb {
			if va > vb {
				return -1
			}
			return 1
		}
		return 0
	})
	return may
}
