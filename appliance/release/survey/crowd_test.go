package update

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/trust"
)

// dice fall the same in every run.
func dice() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// TestCrowd: strangers who promise much and never answer do not keep the node
// from asking the one who has something, nor push it out of the book.
func TestCrowd(t *testing.T) {
	b := newBook(dice())
	now := day
	for i := range 100 {
		b.hear(Announcement{Key: fmt.Sprintf("silent %d", i), URLs: []string{"http://silent"}, Version: 1<<53 - 1}, false, now)
	}
	b.hear(Announcement{Key: "honest", URLs: []string{"http://honest"}, Version: 20}, false, now)
	for asked, round := 0, 0; ; round++ {
		due, _ := b.due(now)
		if len(due) == 0 || round > 200/askers {
			t.Fatalf("the honest provider was not asked among %d", asked)
		}
		due = due[:min(len(due), askers)]
		asked += len(due)
		for _, p := range due {
			p.asking = true
		}
		if b.providers["honest"].asking {
			break
		}
		now = now.Add(askTime)
		for _, p := range due {
			b.answered(p, nil, refusal.New(refusal.Slow, "silent"), now)
		}
	}
	honest := b.providers["honest"]
	b.answered(honest, &Offer{Provider: "http://honest"}, nil, now)
	for i := range maxProviders + 500 {
		b.hear(Announcement{Key: fmt.Sprintf("crowd %d", i), URLs: nil, Version: 99}, false, now.Add(time.Duration(i)))
	}
	if b.providers["honest"] != honest {
		t.Error("a crowd of strangers pushed out the provider that has something")
	}
}

// TestFlood: a provider that nobody has asked yet is neither pushed out nor kept
// waiting by a flood of announcements that promise more, whether one stranger
// makes them all or seems to be many.
func TestFlood(t *testing.T) {
	for name, source := range map[string]func(i int) string{
		"of one":  func(int) string { return "stranger" },
		"of many": func(i int) string { return fmt.Sprintf("stranger %d", i) },
	} {
		for before := range 2 { // the honest one comes first, or after the flood
			b, now := newBook(dice()), day
			flood := func() {
				for i := range 2 * maxProviders {
					now = now.Add(time.Millisecond)
					b.hear(Announcement{Key: fmt.Sprintf("flood %d", i), Source: source(i), Version: 1<<53 - 1}, false, now)
				}
			}
			if before == 1 {
				flood()
			}
			now = now.Add(time.Millisecond)
			b.hear(Announcement{Key: "honest", Source: "honest", Version: 20}, false, now)
			if before == 0 || name == "of one" {
				flood()
			}
			due, _ := b.due(now)
			at := slices.IndexFunc(due, func(p *provider) bool { return p.key == "honest" })
			if at < 0 || at >= 8 {
				t.Errorf("flood %s, honest after it: %v: the honest one is number %d of %d", name, before == 1, at, len(due))
			}
			if n := len(b.providers); n > maxProviders || n < maxProviders-roomAtOnce {
				t.Errorf("%d providers", len(b.providers))
			}
		}
	}
}

// TestShout: a provider that failed is asked no sooner, and stands no further in
// front, for saying something new all the time; and one source has few questions
// at once.
func TestShout(t *testing.T) {
	b, now := newBook(dice()), day
	for i := range uint64(20) {
		for j := range 10 {
			b.hear(Announcement{Key: fmt.Sprintf("shout %d", j), Source: "shout", Version: 100 + i}, false, now)
		}
		due, _ := b.due(now)
		if len(due) > sourceAtOnce {
			t.Fatalf("%d questions to one source", len(due))
		}
		for _, p := range due {
			if !p.asked.IsZero() && now.Sub(p.asked) < firstRetry {
				t.Errorf("asked again after %v", now.Sub(p.asked))
			}
			p.asking, p.asked = true, now
		}
		for _, p := range due {
			b.answered(p, nil, refusal.New(refusal.Slow, "silent"), now)
		}
		now = now.Add(time.Second)
	}
	for j := range 100 {
		b.hear(Announcement{Key: fmt.Sprintf("silent %d", j), Source: fmt.Sprint(j), Version: 1<<53 - 1}, false, now)
		for _, p := range b.providers {
			p.fails, p.next = max(p.fails, 1), now
		}
	}
	b.hear(Announcement{Key: "honest", Source: "honest", Version: 1}, false, now)
	if due, _ := b.due(now); due[0].key != "honest" {
		t.Errorf("%s is ahead of who never failed", due[0].key)
	}
}

// TestHurry: who takes long makes room when others wait, and only then; whom the
// owner named does not.
func TestHurry(t *testing.T) {
	b, now := newBook(dice()), day
	hurried := map[string]bool{}
	for _, key := range []string{"slow", "named"} {
		b.hear(Announcement{Key: key}, key == "named", now)
		p := b.providers[key]
		p.asking, p.asked, p.hurry = true, now, func() { hurried[key] = true }
	}
	if wake := b.hurry(now.Add(2 * crowdTime)); len(hurried) != 0 || !wake.IsZero() {
		t.Errorf("nobody waits, and hurried are %v", hurried)
	}
	b.hear(Announcement{Key: "waits"}, false, now)
	if wake := b.hurry(now.Add(crowdTime - 1)); len(hurried) != 0 || wake != now.Add(crowdTime) {
		t.Errorf("too soon hurried are %v; more at %v", hurried, wake)
	}
	if b.hurry(now.Add(crowdTime)); len(hurried) != 1 || !hurried["slow"] {
		t.Errorf("hurried are %v", hurried)
	}
	slow := b.providers["slow"]
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 16} { // more than askTime is askTime
		if got := slow.turnTime(); got != want*time.Second {
			t.Errorf("after %d failures its turn takes %v", slow.fails, got)
		}
		b.answered(slow, nil, refusal.New(refusal.Slow, "silent"), now)
	}
}

// TestDropped: a provider that offers what it does not hand over is passed
// over for the next best, and asked again later.
func TestDropped(t *testing.T) {
	h := newHouse(t, 1)
	b := newBook(dice())
	for key, version := range map[string]uint64{"liar": 20, "honest": 19} {
		b.hear(Announcement{Key: key, URLs: []string{"http://" + key}, Version: version}, false, day)
		b.answered(b.providers[key], &Offer{Provider: "http://" + key, Release: h.held(t, version, key)}, nil, day)
	}
	now := day
	for _, pause := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		offers, wake := b.offers(now)
		if c, _ := Choose(offers, 1, func(names.Digest) bool { return false }); c.Release.Manifest().Version != 20 || !wake.IsZero() {
			t.Fatalf("chose version %d, waiting until %v", c.Release.Manifest().Version, wake)
		}
		b.dropped("http://liar", now)
		offers, wake = b.offers(now)
		if c, _ := Choose(offers, 1, func(names.Digest) bool { return false }); c.Release.Manifest().Version != 19 {
			t.Errorf("with the liar dropped, chose version %d", c.Release.Manifest().Version)
		}
		if wake != now.Add(pause*time.Second) {
			t.Errorf("the liar is taken up again after %v, want %v s", wake.Sub(now), pause)
		}
		now = wake
	}
}

// TestOneAddressTwice: whoever announces another's address makes it no second
// provider.
func TestOneAddressTwice(t *testing.T) {
	h := newHouse(t, 1)
	r := h.held(t, 2, "next")
	c, ok := Choose([]Offer{{"http://a", r}, {"http://a", r}, {"http://b", r}}, 1, func(names.Digest) bool { return false })
	if !ok || fmt.Sprint(c.Providers) != "[http://a http://b]" {
		t.Errorf("chose %v", c.Providers)
	}
}

// TestDroppedIsTold: a download that came to nothing names every provider that
// spoiled it, and goes on with the release somebody else has.
func TestDroppedIsTold(t *testing.T) {
	h := newHouse(t, 1)
	var last statefile.Update
	var took []uint64
	u := Updater{
		Root: h.root, Running: h.held(t, 1, "running"), Channel: "stable", Arch: "x86_64",
		Failed: func(names.Digest) bool { return false },
		Now:    func() time.Time { return day }, Providers: []string{"http://liar", "http://twin", "http://honest"},
		Ask: func(_ context.Context, url, _, _ string) ([]byte, error) {
			if url == "http://honest" {
				return h.sign(t, 2, "honest"), nil
			}
			return h.sign(t, 3, "newer"), nil
		},
		Ready: func(context.Context, trust.Verified) error { return nil },
		Fetch: func(_ context.Context, v trust.Verified, providers []string) (Payload, []Dropped, error) {
			took = append(took, v.Manifest().Version)
			if v.Manifest().Version == 2 {
				return payload{}, nil, nil
			}
			var dropped []Dropped
			for _, p := range providers {
				dropped = append(dropped, Dropped{p, refusal.New(refusal.Digest, "swapped")})
			}
			return nil, dropped, errors.New("nobody is left")
		},
		Jump:   func(context.Context, trust.Verified) error { return nil },
		Report: func(u statefile.Update) { last = u },
	}
	if err := u.Run(t.Context(), nil); err != nil {
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
