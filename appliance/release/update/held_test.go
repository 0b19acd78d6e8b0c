package update

import (
	"context"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

// TestHeld: what the node holds already is jumped into without any provider.
func TestHeld(t *testing.T) {
	h := newHouse(t, 1)
	var jumped uint64
	u := Updater{
		Root: h.newest, Running: h.held(t, 10, "running"), Channel: "stable", Arch: "x86_64",
		Failed: func(names.Digest) bool { return false }, Now: func() time.Time { return day },
		Startable: func(bool) []trust.Verified { return []trust.Verified{h.held(t, 11, "held")} },
		Ready:     func(context.Context, trust.Verified) error { return nil },
		Fetch: func(_ context.Context, v trust.Verified, providers []string) (Payload, fetch.Report, error) {
			if len(providers) != 0 {
				t.Errorf("fetched from %q", providers)
			}
			return payload{}, fetch.Report{}, nil
		},
		Jump:   func(_ context.Context, v trust.Verified) error { jumped = v.Manifest().Version; return nil },
		Report: func(statefile.Update) {},
	}
	if err := u.Run(t.Context()); err != nil || jumped != 11 {
		t.Errorf("jumped into %d, %v", jumped, err)
	}
}

// TestChoice: a provider's newer release wins over one that is held, and one that
// both have may be had from the provider too; while the owner keeps the node on a
// release, no other is chosen.
func TestChoice(t *testing.T) {
	h := newHouse(t, 1)
	eleven, twelve := h.held(t, 11, "a"), h.held(t, 12, "b")
	var held []trust.Verified
	pinned := false
	l := &loop{Updater: Updater{
		Running: h.held(t, 10, "running"), Channel: "stable", Arch: "x86_64",
		Failed:    func(names.Digest) bool { return false },
		Startable: func(bool) []trust.Verified { return held },
		Pinned:    func() bool { return pinned },
	}}
	for name, c := range map[string]struct {
		offers    []survey.Offer
		held      []trust.Verified
		pinned    bool
		version   uint64
		providers int
	}{
		"nothing":          {},
		"offered":          {offers: []survey.Offer{{Provider: "http://a", Release: eleven}}, version: 11, providers: 1},
		"held":             {held: []trust.Verified{eleven}, version: 11, providers: 1},
		"both":             {offers: []survey.Offer{{Provider: "http://a", Release: eleven}}, held: []trust.Verified{eleven}, version: 11, providers: 2},
		"a newer one":      {offers: []survey.Offer{{Provider: "http://a", Release: twelve}}, held: []trust.Verified{eleven}, version: 12, providers: 1},
		"kept where it is": {offers: []survey.Offer{{Provider: "http://a", Release: twelve}}, pinned: true},
		"kept on another":  {offers: []survey.Offer{{Provider: "http://a", Release: twelve}}, held: []trust.Verified{h.held(t, 5, "old")}, pinned: true, version: 5, providers: 1},
	} {
		held, pinned = c.held, c.pinned
		got, _ := l.choose(c.offers)
		ok := got.Release.Valid()
		if ok != (c.version != 0) || ok && (got.Release.Manifest().Version != c.version || len(got.Providers) != c.providers) {
			t.Errorf("%s: %v, version %d from %q", name, ok, got.Release.Manifest().Version, got.Providers)
		}
	}
}

// TestFloorOfTheStore: what was verified once is the floor of what is taken, and the
// check tells of all that passes it.
func TestFloorOfTheStore(t *testing.T) {
	h := newHouse(t, 1)
	floor := h.held(t, 20, "seen")
	var told []uint64
	l := &loop{Updater: Updater{
		Root: h.newest, Running: h.held(t, 10, "running"), Channel: "stable", Arch: "x86_64", Now: func() time.Time { return day },
		Failed:   func(names.Digest) bool { return false },
		Floor:    func() (uint64, names.Digest) { return 20, floor.Digest() },
		Verified: func(v trust.Verified) { told = append(told, v.Manifest().Version) },
	}}
	for version, name := range map[uint64]string{19: "old", 21: "new"} {
		_, err := l.check(t.Context(), "http://a", "stable", "x86_64", h.sign(t, version, name))
		if (err == nil) != (version > 20) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if _, err := l.check(t.Context(), "http://a", "stable", "x86_64", h.sign(t, 20, "seen")); err != nil {
		t.Errorf("the floor itself: %v", err)
	}
	if _, err := l.check(t.Context(), "http://a", "stable", "x86_64", h.sign(t, 20, "another")); err == nil {
		t.Error("another release of the floor's version passes")
	}
	var twins int
	l.Twin = func([]byte) { twins++ }
	if _, err := l.check(t.Context(), "http://a", "stable", "x86_64", h.sign(t, 10, "a twin of what runs")); refusal.CodeOf(err) != refusal.Equivocation || twins != 1 {
		t.Errorf("a second release of the running version: %v, noted %d times", err, twins)
	}
	if _, err := l.check(t.Context(), "http://a", "stable", "x86_64", l.Running.Envelope()); err != nil {
		t.Errorf("the running release, below the floor: %v", err)
	}
	if len(told) != 2 {
		t.Errorf("told of %d", told)
	}
}
