package survey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/provide"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// honest is a provider of a release.
func honest(t *testing.T, signer *storetest.Signer, r storetest.Release) http.Handler {
	t.Helper()
	s := store.New()
	s.AddRoot(signer.Root)
	if err := s.Add(t.Context(), r.Verified, r.Sources()); err != nil {
		t.Fatal(err)
	}
	return provide.Handler(provide.Config{Store: s, Channel: r.Manifest().Channel, Arch: r.Manifest().Arch})
}

// list announces and ends.
type list []Announcement

func (l list) Find(context.Context) (<-chan Announcement, error) {
	found := make(chan Announcement, len(l))
	for _, a := range l {
		found <- a
	}
	close(found)
	return found, nil
}

// once asks everyone and returns the answers by URL, or by key of those that were not asked.
func once(t *testing.T, ctx context.Context, signer *storetest.Signer, s *Survey) map[string]Answer {
	t.Helper()
	s.Once, s.Look = true, time.Hour
	s.Check = func(_ context.Context, _, channel, arch string, envelope []byte) (trust.Verified, error) {
		return signer.Root.Verify(envelope, trust.Policy{Channel: channel, Arch: arch, Floor: 5, Now: time.Now()})
	}
	answers := map[string]Answer{}
	if err := s.Run(ctx, func(a Answer) {
		at := cmp.Or(a.URL, a.Key)
		if _, twice := answers[at]; twice {
			t.Errorf("%s was asked twice", at)
		}
		answers[at] = a
	}); err != nil {
		t.Fatal(err)
	}
	return answers
}

func TestAnswers(t *testing.T) {
	signer, stranger := storetest.NewSigner(t), storetest.NewSigner(t)
	good := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	want := map[string]refusal.Code{
		serve(t, honest(t, stranger, stranger.Release(t, "stable", "x86_64", 99, storetest.Sizes))): refusal.Signature,
		serve(t, honest(t, signer, good)): "",
		serve(t, honest(t, signer, signer.Release(t, "stable", "x86_64", 3, storetest.Sizes))): refusal.Rollback,
		serve(t, http.NotFoundHandler()): refusal.Unreachable,
	}
	// Some are named, some announced; the second address of one answers.
	dead := serve(t, http.NotFoundHandler())
	second := serve(t, honest(t, signer, good))
	announced := list{
		{Key: "two", Channel: "stable", Arch: "amd64", URLs: []string{dead, second}},
		{Key: "none", Channel: "stable", Arch: "x86_64"},
		{Key: "unknown", Channel: "x", Arch: "x86_64", URLs: []string{"http://x"}},
	}
	s := Survey{Finders: []Finder{announced}}
	for url := range want {
		announced = append(announced, Announcement{Key: url, Channel: "stable", Arch: "x86_64", URLs: []string{url}})
	}
	s.Finders = []Finder{announced[:3], announced[3:]}
	answers := once(t, t.Context(), signer, &s)
	for url, code := range want {
		a := answers[url]
		if refusal.CodeOf(a.Err) != code || a.Release.Valid() != (code == "") || !a.News {
			t.Errorf("%+v; want the code %q", a, code)
		}
	}
	if a := answers[second]; a.Key != "two" || a.Release.Digest() != good.Digest() || a.Took <= 0 {
		t.Errorf("at the second address: %+v", a)
	}
	for key, code := range map[string]refusal.Code{"none": refusal.Unreachable, "unknown": refusal.Channel} {
		if a := answers[key]; refusal.CodeOf(a.Err) != code {
			t.Errorf("%+v; want the code %q", a, code)
		}
	}
}

// A crowd that never answers does not make the honest one wait its turn.
func TestAmongSilentProviders(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	asked := make(chan struct{})
	crowd := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-asked:
			http.NotFound(w, r)
		case <-r.Context().Done():
		}
	})
	s := Survey{Channel: "stable", Arch: "x86_64"}
	for range 40 {
		s.Named = append(s.Named, serve(t, crowd))
	}
	good := honest(t, signer, r)
	first := sync.OnceFunc(func() { close(asked) })
	s.Named = append(s.Named, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first()
		good.ServeHTTP(w, r)
	})))
	answers := once(t, t.Context(), signer, &s)
	if a := answers[s.Named[40]]; a.Err != nil || a.Release.Digest() != r.Digest() {
		t.Errorf("the honest one: %v", a.Err)
	}
	for _, url := range s.Named[:40] {
		if err := answers[url].Err; refusal.CodeOf(err) != refusal.Unreachable {
			t.Errorf("one of the crowd was waited for: %v", err)
		}
	}
}

// TestSettle: hundreds that are silent keep no one from the one that is not,
// though it comes last, and are not waited for.
func TestSettle(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	silent := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	s := Survey{Channel: "stable", Arch: "x86_64", AtOnce: 512, AskTime: time.Hour, Settle: time.Second}
	s.Get = func(ctx context.Context, url, _, _ string) ([]byte, error) {
		if url == "http://honest" {
			return r.Envelope(), nil
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, silent, nil)
		if err != nil {
			return nil, err
		}
		_, err = http.DefaultClient.Do(req)
		return nil, errors.Join(context.Cause(ctx), err)
	}
	for i := range 300 {
		s.Named = append(s.Named, fmt.Sprint("http://silent/", i))
	}
	s.Named = append(s.Named, "http://honest")
	answers := once(t, t.Context(), signer, &s)
	if a := answers["http://honest"]; a.Err != nil || a.Release.Digest() != r.Digest() {
		t.Errorf("the honest one: %v", a.Err)
	}
	for _, url := range s.Named[:300] {
		if err := answers[url].Err; refusal.CodeOf(err) != refusal.Slow {
			t.Fatalf("one of the crowd: %v", err)
		}
	}
}

// TestFinderFails: what cannot be looked for is an error, not an empty answer.
func TestFinderFails(t *testing.T) {
	broken := errors.New("no network")
	s := Survey{Finders: []Finder{list{}, failing{broken}}, Once: true, Look: time.Hour}
	if err := s.Run(t.Context(), func(Answer) {}); !errors.Is(err, broken) {
		t.Errorf("Run = %v", err)
	}
}

type failing struct{ err error }

func (f failing) Find(context.Context) (<-chan Announcement, error) { return nil, f.err }
