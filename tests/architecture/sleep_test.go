package architecture

import (
	"slices"
	"testing"
)

// sleepers are the tests, and what tests are made of, that may call time.Sleep,
// each with its reason. A wait is no reason: a test waits for an event, or by
// tests/await for what cannot tell.
var sleepers = map[string]string{}

func TestNoSleep(t *testing.T) {
	found := map[string]bool{}
	for _, s := range read(t) {
		if s.product() || !slices.Contains(s.calls, "time.Sleep") {
			continue
		}
		found[s.name] = true
		if sleepers[s.name] == "" {
			t.Errorf("%s sleeps: wait for an event, or by tests/await for what cannot tell", s.name)
		}
	}
	for name := range sleepers {
		if !found[name] {
			t.Errorf("stale row: %s does not sleep", name)
		}
	}
}
