package survey

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

// TestAgain: a provider that has answered is asked anew when that is wanted, long
// before its answer becomes old.
func TestAgain(t *testing.T) {
	signer := storetest.NewSigner(t)
	first := signer.Release(t, "stable", "x86_64", 6, storetest.Sizes)
	asked := make(chan time.Time, 8)
	s := &Survey{
		Named: []string{"http://a", "http://b"}, Channel: "stable", Arch: "x86_64",
		Get: func(context.Context, string, string, string) ([]byte, error) {
			asked <- time.Now()
			return first.Envelope(), nil
		},
		Check: func(_ context.Context, _, channel, arch string, envelope []byte) (trust.Verified, error) {
			return signer.Root.VerifyHeld(envelope, channel, arch)
		},
	}
	s.Again() // before it runs: nothing
	ctx, cancel := context.WithCancel(t.Context())
	ended, answers := make(chan error), make(chan Answer, 8)
	go func() { ended <- s.Run(ctx, func(a Answer) { answers <- a }) }()
	for range 2 {
		<-asked
		<-answers
	}
	began := time.Now()
	if waiting, all := s.Waiting(began); waiting != 2 || all != 2 {
		t.Errorf("%d of %d were not asked since", waiting, all)
	}
	s.Again()
	for range 2 {
		if at := <-asked; at.Before(began) {
			t.Error("asked before")
		}
		<-answers
	}
	if waiting, _ := s.Waiting(began); waiting != 0 {
		t.Errorf("%d were not asked since", waiting)
	}
	cancel()
	<-ended
}

// TestBusy: who is asked once, was named and is busy is asked again until it
// answers, or its time is out; who was not named had its turn.
func TestBusy(t *testing.T) {
	signer := storetest.NewSigner(t)
	good := honest(t, signer, signer.Release(t, "stable", "x86_64", 7, storetest.Sizes))
	asked := atomic.Int32{}
	busy := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	starting := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if asked.Add(1) < 3 {
			busy(w, req)
		} else {
			good.ServeHTTP(w, req)
		}
	}))
	turns := atomic.Int32{}
	heard := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		turns.Add(1)
		busy(w, req)
	}))
	s := &Survey{Named: []string{starting}, Finders: []Finder{list{{Key: "heard", URLs: []string{heard}}}}, Channel: "stable", Arch: "x86_64", AskTime: time.Minute}
	answers := once(t, t.Context(), signer, s)
	if err := answers[starting].Err; err != nil || asked.Load() != 3 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
	if code := refusal.CodeOf(answers[heard].Err); code != refusal.Busy || turns.Load() != 1 {
		t.Errorf("asked %d times: %v", turns.Load(), answers[heard].Err)
	}
	s = &Survey{Named: []string{heard}, Channel: "stable", Arch: "x86_64", AskTime: 10 * time.Millisecond}
	if err := once(t, t.Context(), signer, s)[heard].Err; err == nil {
		t.Error("a provider that stays busy answered")
	}
}
