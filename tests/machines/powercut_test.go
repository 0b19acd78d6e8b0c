package machines

import (
	"path/filepath"
	"strings"
	"testing"

	"phase/tests/powercut"
)

// The power-cut campaign, short and with a fixed seed: each node is cut three
// times, and comes up whole each time. make test-powercut runs the long one.
func TestPowerCuts(t *testing.T) {
	long(t) // a node takes minutes, and its plan waits for phases by their time
	t.Parallel()
	w := open(t, machineArch)
	const nodes = 4
	var log strings.Builder
	c := powercut.Campaign{Lab: w.Lab, Logs: filepath.Join(build(), "tests", t.Name()), Log: &log, Nodes: nodes, Seed: 7, AtOnce: 1}
	results, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(log.String())
	for _, r := range results {
		if !r.Good() {
			t.Errorf("a node broke; replay it with make test-powercut N=1 SEED=%d:\n%s", r.Seed, r)
		}
	}
}
