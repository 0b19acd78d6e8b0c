package update

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

// A release that passed under one root is not taken once another root is known
// that took back the key which signed it: neither as an offer, nor when its
// download has ended.
func TestRotated(t *testing.T) {
	first := storetest.NewSigner(t)
	second := first.Rotate(t)
	release := func(s *storetest.Signer, version uint64) []byte {
		return s.Release(t, "stable", "x86_64", version, storetest.Sizes).Envelope()
	}
	stolen, next := release(first, 99), release(second, 11)
	var mu sync.Mutex
	root := first.Root
	fetching := make(chan struct{}) // the stolen one, so that its offer was taken under the first root
	rotated := make(chan struct{})
	rotate := sync.OnceFunc(func() { close(rotated) })
	var took []uint64
	var last statefile.Update
	u := Updater{
		Root:    func() trust.Root { mu.Lock(); defer mu.Unlock(); return root },
		Running: first.Release(t, "stable", "x86_64", 10, storetest.Sizes).Verified, Channel: "stable", Arch: "x86_64",
		Failed: func(names.Digest) bool { return false }, Now: time.Now, Providers: []string{"http://thief", "http://honest"},
		Ask: func(_ context.Context, url, _, _ string) ([]byte, error) {
			if url == "http://thief" {
				return stolen, nil
			}
			<-fetching
			mu.Lock()
			defer mu.Unlock()
			root = second.Root
			rotate()
			return next, nil
		},
		Ready: func(context.Context, trust.Verified) error { return nil },
		Fetch: func(_ context.Context, v trust.Verified, _ []string) (Payload, fetch.Report, error) {
			took = append(took, v.Manifest().Version)
			if v.Manifest().Version == 99 {
				close(fetching)
				<-rotated
				return payload{load: errors.New("it was loaded")}, fetch.Report{}, nil
			}
			return payload{}, fetch.Report{}, nil
		},
		Jump:   func(context.Context, trust.Verified) error { return nil },
		Report: func(u statefile.Update) { last = u },
	}
	if err := u.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(took) != "[99 11]" || len(last.History) != 2 || last.History[1].Code != "signature" {
		t.Errorf("fetched %v; %+v", took, last.History)
	}
}
