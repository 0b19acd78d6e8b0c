package update

import (
	"context"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
)

// TestTried: what a provider has counted keeps its own release away, and no
// older one is asked about.
func TestTried(t *testing.T) {
	h := newHouse(t, 1)
	running := h.held(t, 10, "running")
	var asked []uint64
	l := &loop{Updater: Updater{
		Root: h.newest, Running: running, Channel: "stable", Arch: "x86_64", Now: func() time.Time { return day },
		Failed: func(names.Digest) bool { return false },
		Tried: func(_ context.Context, url string, v trust.Verified) error {
			asked = append(asked, v.Manifest().Version)
			if url == "http://counted" {
				return refusal.New(refusal.FailedBefore, "twice")
			}
			return nil
		},
	}}
	next := h.sign(t, 11, "next")
	if _, err := l.check(t.Context(), "http://counted", "stable", "x86_64", next); refusal.CodeOf(err) != refusal.FailedBefore {
		t.Errorf("counted twice, and taken: %v", err)
	}
	if v, err := l.check(t.Context(), "http://other", "stable", "x86_64", next); err != nil || v.Manifest().Version != 11 {
		t.Errorf("another provider's word kept it away: %v", err)
	}
	if _, err := l.check(t.Context(), "http://counted", "stable", "x86_64", running.Envelope()); err != nil {
		t.Errorf("the running release: %v", err)
	}
	if len(asked) != 2 {
		t.Errorf("asked about versions %v", asked)
	}
}
