package update

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/trust"
)

// TestDroppedIsTold: a download that came to nothing names every provider that
// spoiled it, and goes on with the release somebody else has.
func TestDroppedIsTold(t *testing.T) {
	h := newHouse(t, 1)
	var last statefile.Update
	var took []uint64
	u := Updater{
		Root: h.newest, Running: h.held(t, 1, "running"), Channel: "stable", Arch: "x86_64",
		Failed: func(names.Digest) bool { return false },
		Now:    func() time.Time { return day }, Providers: []string{"http://liar", "http://twin", "http://honest"},
		Ask: func(_ context.Context, url, _, _ string) ([]byte, error) {
			if url == "http://honest" {
				return h.sign(t, 2, "honest"), nil
			}
			return h.sign(t, 3, "newer"), nil
		},
		Ready: func(context.Context, trust.Verified) error { return nil },
		Fetch: func(_ context.Context, v trust.Verified, providers []string) (Payload, fetch.Report, error) {
			took = append(took, v.Manifest().Version)
			if v.Manifest().Version == 2 {
				return payload{}, fetch.Report{}, nil
			}
			var report fetch.Report
			for _, p := range providers {
				report.Providers = append(report.Providers, fetch.ProviderReport{URL: p, Dropped: refusal.New(refusal.Digest, "swapped")})
			}
			return nil, report, errors.New("nobody is left")
		},
		Jump:   func(context.Context, trust.Verified) error { return nil },
		Report: func(u statefile.Update) { last = u },
	}
	if err := u.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(took) != "[3 2]" {
		t.Errorf("took versions %v", took)
	}
	want := "honest accepted , liar failed , twin refused digest, liar refused digest, "
	got := ""
	for _, a := range last.History {
		got += fmt.Sprintf("%s %s %s, ", a.Provider[len("http://"):], a.Result, a.Code)
	}
	if got != want {
		t.Errorf("history: %s\nwant:    %s", got, want)
	}
}

// TestHistoryOfOne: a provider that repeats itself takes one place.
func TestHistoryOfOne(t *testing.T) {
	h := newHouse(t, 1)
	l := &loop{Updater: Updater{Running: h.held(t, 1, "running"), Now: func() time.Time { return day }, Report: func(statefile.Update) {}}}
	l.attempt("http://first", nil, "refused", refusal.New(refusal.Arch, "no"))
	for i := range 2 * historyMax {
		l.attempt("http://loud", nil, "refused", refusal.New(refusal.Signature, "no %d", i))
	}
	if n := len(l.shown.History); n != 2 || l.shown.History[1].Provider != "http://first" || l.shown.Last.Provider != "http://loud" {
		t.Errorf("history has %d: %+v", n, l.shown.History)
	}
	for i := range 2 * historyMax {
		l.attempt(fmt.Sprintf("http://%d", i), nil, "refused", refusal.New(refusal.Signature, "no"))
	}
	if n := len(l.shown.History); n != historyMax {
		t.Errorf("history has %d, at most %d", n, historyMax)
	}
}
