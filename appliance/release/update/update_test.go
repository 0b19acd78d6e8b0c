package update

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

var day = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// house is a root with its key, and what it signs.
type house struct {
	root trust.Root
	key  ed25519.PrivateKey
}

func newHouse(t *testing.T, seed byte) house {
	t.Helper()
	key := func(n byte) (ed25519.PrivateKey, trust.RoleSpec) {
		k := ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-2), seed, n))
		return k, trust.RoleSpec{Keys: []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}, Threshold: 1}
	}
	rootKey, rootRole := key(1)
	releaseKey, releaseRole := key(2)
	data, err := trust.SignRoot(trust.RootSpec{Version: 1, Expires: day.AddDate(1, 0, 0),
		Roles: map[string]trust.RoleSpec{"root": rootRole, "release": releaseRole}}, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	return house{root, releaseKey}
}

func (h house) sign(t *testing.T, version uint64, name string) []byte {
	t.Helper()
	a := manifest.Artifact{Size: 4, SHA256: names.Sum([]byte("data"))}
	data, err := trust.SignRelease(manifest.Manifest{Version: version, Name: name, Channel: "stable", Arch: "x86_64",
		Created: day, Expires: day.AddDate(0, 6, 0), Cmdline: "console=ttyS0",
		Artifacts: map[string]manifest.Artifact{"kernel": a, "initramfs": a, "rootfs": a}}, h.key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (h house) held(t *testing.T, version uint64, name string) trust.Verified {
	t.Helper()
	v, err := h.root.VerifyHeld(h.sign(t, version, name), "stable", "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestChoose(t *testing.T) {
	h := newHouse(t, 1)
	old, next, newest, twin := h.held(t, 1, "old"), h.held(t, 2, "next"), h.held(t, 3, "newest"), h.held(t, 3, "twin")
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

func TestBook(t *testing.T) {
	b := newBook(dice())
	now := day
	b.hear(Announcement{Key: "a", URLs: []string{"http://a"}, Version: 5}, false, now)
	b.hear(Announcement{Key: "b", URLs: []string{"http://b"}, Version: 9}, false, now)
	due, _ := b.due(now)
	if len(due) != 2 || due[0].key != "b" {
		t.Fatalf("due = %v, want the best hint first", due)
	}
	for _, p := range due {
		p.asking = true
	}
	if due, _ := b.due(now); len(due) != 0 {
		t.Fatal("a provider was asked twice at once")
	}
	refused := refusal.New(refusal.Signature, "no")
	a, bb := due0(b, "a"), due0(b, "b")
	if !b.answered(a, nil, refused, now) {
		t.Error("the first refusal is news")
	}
	if b.answered(a, nil, refused, now) {
		t.Error("the same refusal again is not news")
	}
	if a.next != now.Add(recheck) {
		t.Errorf("a provider with an unacceptable answer is asked again after %v", a.next.Sub(now))
	}
	for _, want := range []time.Duration{5, 10, 20, 40, 80, 120, 120} {
		b.answered(bb, nil, refusal.New(refusal.Unreachable, "gone"), now)
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
	if len(b.providers) > maxProviders {
		t.Errorf("strangers filled the book with %d providers", len(b.providers))
	}
}

func due0(b *book, key string) *provider { return b.providers[key] }

type payload struct{ load error }

func (p payload) Load(context.Context) error { return p.load }
func (p payload) Close() error               { return nil }

// TestRun drives the loop: a liar is named and refused, the honest newest is
// fetched, loaded and jumped into.
func TestRun(t *testing.T) {
	h, stranger := newHouse(t, 1), newHouse(t, 2)
	running := h.held(t, 10, "running")
	answers := map[string][]byte{
		"http://liar":  stranger.sign(t, 99, "forged"),
		"http://old":   h.sign(t, 9, "old"),
		"http://next":  h.sign(t, 11, "next"),
		"http://twin":  h.sign(t, 10, "twin of running"),
		"http://tried": h.sign(t, 12, "tried"),
	}
	tried := h.held(t, 12, "tried").Digest()
	var mu sync.Mutex
	seen := map[string]string{}
	var jumped uint64
	all := make(chan struct{})
	u := Updater{
		Root: h.root, Running: running, Channel: "stable", Arch: "x86_64", Failed: func(d names.Digest) bool { return d == tried },
		Now:       func() time.Time { return day },
		Providers: []string{"http://gone"},
		Ask: func(_ context.Context, url, _, _ string) ([]byte, error) {
			if data, ok := answers[url]; ok {
				if url == "http://next" {
					<-all // last, so that everyone else has been judged
				}
				return data, nil
			}
			return nil, refusal.New(refusal.Unreachable, "nobody there")
		},
		Ready: func(context.Context, trust.Verified) error { return nil },
		Fetch: func(_ context.Context, v trust.Verified, providers []string) (Payload, []Dropped, error) {
			if len(providers) != 1 || providers[0] != "http://next" {
				t.Errorf("fetched from %v", providers)
			}
			return payload{}, nil, nil
		},
		Jump: func(_ context.Context, v trust.Verified) error {
			jumped = v.Manifest().Version
			return nil
		},
		Report: func(u statefile.Update) {
			mu.Lock()
			defer mu.Unlock()
			if u.Last != nil {
				seen[u.Last.Provider] = u.Last.Result + " " + u.Last.Code
			}
			if len(seen) == 5 {
				select {
				case <-all:
				default:
					close(all)
				}
			}
		},
	}
	heard := make(chan Announcement, len(answers))
	for url := range answers {
		heard <- Announcement{Key: url, URLs: []string{url}, Version: 50}
	}
	if err := u.Run(t.Context(), heard); err != nil {
		t.Fatal(err)
	}
	if jumped != 11 {
		t.Errorf("jumped into version %d", jumped)
	}
	for provider, want := range map[string]string{
		"http://liar":  "refused signature",
		"http://old":   "refused rollback",
		"http://twin":  "refused equivocation",
		"http://tried": "refused failed_before",
		"http://gone":  "refused unreachable",
		"http://next":  "accepted ",
	} {
		if seen[provider] != want {
			t.Errorf("%s: %q, want %q", provider, seen[provider], want)
		}
	}
}

// TestFloorIsTheChannels: the running release says nothing about the versions
// of a channel it is not of.
func TestFloorIsTheChannels(t *testing.T) {
	h := newHouse(t, 1)
	u := Updater{Running: h.held(t, 10, "running"), Channel: "stable"}
	if floor, digest := u.floor(); floor != 10 || digest != u.Running.Digest() {
		t.Errorf("floor within the channel: %d %s", floor, digest)
	}
	u.Channel = "testing"
	if floor, digest := u.floor(); floor != 0 || !digest.IsZero() {
		t.Errorf("floor in another channel: %d %s", floor, digest)
	}
}

// TestNothingTakenIsNothingLost: whatever step fails, there is no jump and the
// loop goes on.
func TestNothingTakenIsNothingLost(t *testing.T) {
	h := newHouse(t, 1)
	broken := errors.New("broken")
	for name, spoil := range map[string]func(*Updater){
		"too little memory": func(u *Updater) { u.Ready = func(context.Context, trust.Verified) error { return broken } },
		"fetch": func(u *Updater) {
			u.Fetch = func(context.Context, trust.Verified, []string) (Payload, []Dropped, error) { return nil, nil, broken }
		},
		"load": func(u *Updater) {
			u.Fetch = func(context.Context, trust.Verified, []string) (Payload, []Dropped, error) {
				return payload{broken}, nil, nil
			}
		},
		"jump": func(u *Updater) { u.Jump = func(context.Context, trust.Verified) error { return broken } },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			u := Updater{
				Root: h.root, Running: h.held(t, 1, "running"), Channel: "stable", Arch: "x86_64",
				Failed: func(names.Digest) bool { return false },
				Now:    func() time.Time { return day }, Providers: []string{"http://next"},
				Ask:   func(context.Context, string, string, string) ([]byte, error) { return h.sign(t, 2, "next"), nil },
				Ready: func(context.Context, trust.Verified) error { return nil },
				Fetch: func(context.Context, trust.Verified, []string) (Payload, []Dropped, error) {
					return payload{}, nil, nil
				},
				Jump: func(context.Context, trust.Verified) error { t.Error("jumped"); return nil },
				Report: func(u statefile.Update) {
					if u.Last != nil && u.Last.Result == "failed" && u.State == "looking" {
						cancel()
					}
				},
			}
			spoil(&u)
			if err := u.Run(ctx, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v", err)
			}
		})
	}
}
