package survey

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/tests/storetest"
)

var day = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// dice fall the same in every run.
func dice() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// TestCrowd: strangers who promise much and never answer do not keep the node
// from asking the one who has something, nor push it out.
func TestCrowd(t *testing.T) {
	b := newProviders(dice(), false)
	now := day
	for i := range 100 {
		b.hear(Announcement{Key: fmt.Sprintf("silent %d", i), URLs: []string{"http://silent"}, Version: 1<<53 - 1}, false, now)
	}
	b.hear(Announcement{Key: "honest", URLs: []string{"http://honest"}, Version: 20}, false, now)
	for asked, round := 0, 0; ; round++ {
		due, _ := b.due(now)
		if len(due) == 0 || round > 200/64 {
			t.Fatalf("the honest provider was not asked among %d", asked)
		}
		due = due[:min(len(due), 64)]
		asked += len(due)
		for _, p := range due {
			p.asking = true
		}
		if b.list["honest"].asking {
			break
		}
		now = now.Add(10 * time.Second)
		for _, p := range due {
			b.answered(p, Offer{}, refusal.New(refusal.Slow, "silent"), now)
		}
	}
	honest := b.list["honest"]
	b.answered(honest, Offer{Provider: "http://honest"}, nil, now)
	for i := range maxProviders + 500 {
		b.hear(Announcement{Key: fmt.Sprintf("crowd %d", i), URLs: nil, Version: 99}, false, now.Add(time.Duration(i)))
	}
	if b.list["honest"] != honest {
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
			b, now := newProviders(dice(), false), day
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
			at := slices.IndexFunc(due, func(p *provider) bool { return p.Key == "honest" })
			if at < 0 || at >= 8 {
				t.Errorf("flood %s, honest after it: %v: the honest one is number %d of %d", name, before == 1, at, len(due))
			}
			if n := len(b.list); n > maxProviders || n < maxProviders-roomAtOnce {
				t.Errorf("%d providers", len(b.list))
			}
		}
	}
}

// TestShout: a provider that failed is asked no sooner, and stands no further in
// front, for saying something new all the time; and one source has few questions
// at once.
func TestShout(t *testing.T) {
	b, now := newProviders(dice(), false), day
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
			b.answered(p, Offer{}, refusal.New(refusal.Slow, "silent"), now)
		}
		now = now.Add(time.Second)
	}
	for j := range 100 {
		b.hear(Announcement{Key: fmt.Sprintf("silent %d", j), Source: fmt.Sprint(j), Version: 1<<53 - 1}, false, now)
		for _, p := range b.list {
			p.fails, p.next = max(p.fails, 1), now
		}
	}
	b.hear(Announcement{Key: "honest", Source: "honest", Version: 1}, false, now)
	if due, _ := b.due(now); due[0].Key != "honest" {
		t.Errorf("%s is ahead of who never failed", due[0].Key)
	}
}

// TestHurry: who takes long makes room when others wait, and only then; whom the
// owner named does not.
func TestHurry(t *testing.T) {
	b, now := newProviders(dice(), false), day
	hurried := map[string]bool{}
	for _, key := range []string{"slow", "named"} {
		b.hear(Announcement{Key: key}, key == "named", now)
		p := b.list[key]
		p.asking, p.asked, p.hurry = true, now, func() { hurried[key] = true }
	}
	if wake := b.hurry(now.Add(2 * shortTurn)); len(hurried) != 0 || !wake.IsZero() {
		t.Errorf("nobody waits, and hurried are %v", hurried)
	}
	b.hear(Announcement{Key: "waits"}, false, now)
	if wake := b.hurry(now.Add(shortTurn - 1)); len(hurried) != 0 || wake != now.Add(shortTurn) {
		t.Errorf("too soon hurried are %v; more at %v", hurried, wake)
	}
	if b.hurry(now.Add(shortTurn)); len(hurried) != 1 || !hurried["slow"] {
		t.Errorf("hurried are %v", hurried)
	}
	slow := b.list["slow"]
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 16} { // more than 10 * time.Second is 10 * time.Second
		if got := slow.turnTime(); got != want*time.Second {
			t.Errorf("after %d failures its turn takes %v", slow.fails, got)
		}
		b.answered(slow, Offer{}, refusal.New(refusal.Slow, "silent"), now)
	}
}

// TestDropped: a provider that offers what it does not hand over is passed
// over for the next best, and asked again later.
func TestDropped(t *testing.T) {
	signer := storetest.NewSigner(t)
	b := newProviders(dice(), false)
	for key, version := range map[string]uint64{"liar": 20, "honest": 19} {
		b.hear(Announcement{Key: key, URLs: []string{"http://" + key}, Version: version}, false, day)
		b.answered(b.list[key], Offer{Provider: "http://" + key, Release: signer.Release(t, "stable", "x86_64", version, storetest.Sizes).Verified}, nil, day)
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

// TestOneAddressTwice: a node that announces another's address makes it no second
// provider.
func TestOneAddressTwice(t *testing.T) {
	r := storetest.NewSigner(t).Release(t, "stable", "x86_64", 2, storetest.Sizes).Verified
	c, ok := Choose([]Offer{{"http://a", r}, {"http://a", r}, {"http://b", r}}, 1, func(names.Digest) bool { return false })
	if !ok || fmt.Sprint(c.Providers) != "[http://a http://b]" {
		t.Errorf("chose %v", c.Providers)
	}
}
