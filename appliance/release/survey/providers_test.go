package survey

import (
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

func TestChoose(t *testing.T) {
	signer := storetest.NewSigner(t)
	held := func(version uint64, size int) trust.Verified {
		return signer.Release(t, "stable", "x86_64", version, map[string]int{"kernel": size, "initramfs": 1, "rootfs": 1}).Verified
	}
	old, next, newest, twin := held(1, 1), held(2, 1), held(3, 1), held(3, 2)
	low, high := newest, twin
	if compare(twin, newest) > 0 {
		low, high = twin, newest
	}
	offers := []Offer{{"a", old}, {"b", next}, {"c", low}, {"d", high}, {"e", low}, {"f", trust.Verified{}}}
	none := func(names.Digest) bool { return false }
	for _, c := range []struct {
		name      string
		floor     uint64
		failed    func(names.Digest) bool
		want      trust.Verified
		providers string
	}{
		{"newest, ties by the lower digest, everyone who has it", 1, none, low, "c e"},
		{"not one that failed before", 1, func(d names.Digest) bool { return d == low.Digest() }, high, "d"},
		{"nor the other that failed", 1, func(d names.Digest) bool { return d == low.Digest() || d == high.Digest() }, next, "b"},
		{"nothing at or below the floor", 3, none, trust.Verified{}, ""},
	} {
		got, ok := Choose(offers, c.floor, c.failed)
		if ok != c.want.Valid() || got.Release.Digest() != c.want.Digest() || strings.Join(got.Providers, " ") != c.providers {
			t.Errorf("%s: chose version %d from %v", c.name, got.Release.Manifest().Version, got.Providers)
		}
	}
}

func TestProviders(t *testing.T) {
	b := newProviders(dice(), false)
	now := day
	b.hear(Announcement{Key: "a", URLs: []string{"http://a"}, Version: 5}, false, now)
	b.hear(Announcement{Key: "b", URLs: []string{"http://b"}, Version: 9}, false, now)
	due, _ := b.due(now)
	if len(due) != 2 || due[0].Key != "b" {
		t.Fatalf("due = %v, want the best hint first", due)
	}
	for _, p := range due {
		p.asking = true
	}
	if due, _ := b.due(now); len(due) != 0 {
		t.Fatal("a provider was asked twice at once")
	}
	refused := refusal.New(refusal.Signature, "no")
	a, bb := b.list["a"], b.list["b"]
	if !b.answered(a, Offer{}, refused, now) {
		t.Error("the first refusal is news")
	}
	if b.answered(a, Offer{}, refused, now) {
		t.Error("the same refusal again is not news")
	}
	if a.next != now.Add(recheck) {
		t.Errorf("a provider with an unacceptable answer is asked again after %v", a.next.Sub(now))
	}
	for _, want := range []time.Duration{5, 10, 20, 40, 80, 120, 120} {
		b.answered(bb, Offer{}, refusal.New(refusal.Unreachable, "gone"), now)
		if got := bb.next.Sub(now); got != want*time.Second {
			t.Errorf("an unreachable provider is asked again after %v, want %v s", got, want)
		}
	}
	// Heard with another version: asked at once. Heard the same: not.
	b.hear(Announcement{Key: "b", URLs: []string{"http://b"}, Version: 9}, false, now)
	if due, _ := b.due(now); len(due) != 0 {
		t.Error("hearing the same again is no reason to ask")
	}
	b.hear(Announcement{Key: "b", URLs: []string{"http://b"}, Version: 10}, false, now)
	if due, _ := b.due(now); len(due) != 1 {
		t.Error("a new version is a reason to ask at once")
	}
	for i := range 3 * maxProviders {
		b.hear(Announcement{Key: strings.Repeat("x", i+1), URLs: nil, Version: 0}, false, now.Add(time.Duration(i)))
	}
	if len(b.list) > maxProviders {
		t.Errorf("strangers are remembered as %d providers", len(b.list))
	}
}
