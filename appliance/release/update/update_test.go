package update

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/manifest"
	"phase/appliance/release/survey"
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

func (h house) newest() trust.Root { return h.root }

func (h house) held(t *testing.T, version uint64, name string) trust.Verified {
	t.Helper()
	v, err := h.root.VerifyHeld(h.sign(t, version, name), "stable", "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type payload struct{ load error }

func (p payload) Load(context.Context) error { return p.load }
func (p payload) Close() error               { return nil }

// announcements are found at once.
type announcements []survey.Announcement

func (list announcements) Find(context.Context) (<-chan survey.Announcement, error) {
	found := make(chan survey.Announcement, len(list))
	for _, a := range list {
		found <- a
	}
	close(found)
	return found, nil
}

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
		Root: h.newest, Running: running, Channel: "stable", Arch: "x86_64", Failed: func(d names.Digest) bool { return d == tried },
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
		Fetch: func(_ context.Context, v trust.Verified, providers []string) (Payload, fetch.Report, error) {
			if len(providers) != 1 || providers[0] != "http://next" {
				t.Errorf("fetched from %v", providers)
			}
			return payload{}, fetch.Report{}, nil
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
	var found announcements
	for url := range answers {
		found = append(found, survey.Announcement{Key: url, URLs: []string{url}, Version: 50})
	}
	u.Finders = []survey.Finder{found}
	if err := u.Run(t.Context()); err != nil {
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
			u.Fetch = func(context.Context, trust.Verified, []string) (Payload, fetch.Report, error) {
				return nil, fetch.Report{}, broken
			}
		},
		"load": func(u *Updater) {
			u.Fetch = func(context.Context, trust.Verified, []string) (Payload, fetch.Report, error) {
				return payload{broken}, fetch.Report{}, nil
			}
		},
		"jump": func(u *Updater) { u.Jump = func(context.Context, trust.Verified) error { return broken } },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			u := Updater{
				Root: h.newest, Running: h.held(t, 1, "running"), Channel: "stable", Arch: "x86_64",
				Failed: func(names.Digest) bool { return false },
				Now:    func() time.Time { return day }, Providers: []string{"http://next"},
				Ask:   func(context.Context, string, string, string) ([]byte, error) { return h.sign(t, 2, "next"), nil },
				Ready: func(context.Context, trust.Verified) error { return nil },
				Fetch: func(context.Context, trust.Verified, []string) (Payload, fetch.Report, error) {
					return payload{}, fetch.Report{}, nil
				},
				Jump: func(context.Context, trust.Verified) error { t.Error("jumped"); return nil },
				Report: func(u statefile.Update) {
					if u.Last != nil && u.Last.Result == "failed" && u.State == "looking" {
						cancel()
					}
				},
			}
			spoil(&u)
			if err := u.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v", err)
			}
		})
	}
}
