package update

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
	"phase/appliance/release/witness"
)

// witnesses are the providers that remember trials for a machine which cannot.
// A machine with a journal of its own asks none, and one in private mode tells
// nobody what it does.
type witnesses struct {
	client   *http.Client
	manifest string // its path at a provider
	health   string // URL of this node's own
	private  bool
	trial    string // digest of the release on trial, which this node runs; or empty

	mu     sync.Mutex
	offers map[names.Digest][]string // who offered it and counts
	told   map[string]bool           // providers that know that the trial went well
}

// needed says whether this machine forgets its trials at a restart.
func (w *witnesses) needed() bool { return !w.private && trial.Here().Where() == trial.Memory }

// tried refuses a release that this machine has begun too often, as the
// provider that offers it has counted. One that does not count is no witness,
// and no reason against its release.
func (w *witnesses) tried(ctx context.Context, url string, v trust.Verified) error {
	if !w.needed() {
		return nil
	}
	tries, err := w.tell(ctx, url, v.Digest(), witness.Asked)
	if err != nil {
		return nil
	}
	if up, again := trial.Wait(tries, false); !again || trial.Up() < up {
		return refusal.New(refusal.FailedBefore, "version %d was tried on this machine %d times and did not come up, as this provider has counted", v.Manifest().Version, tries)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.offers == nil {
		w.offers = map[names.Digest][]string{}
	}
	if have := w.offers[v.Digest()]; !slices.Contains(have, url) {
		w.offers[v.Digest()] = append(have, url)
	}
	return nil
}

// begin tells everyone who offered a release that it is about to be tried.
func (w *witnesses) begin(ctx context.Context, d names.Digest) {
	if !w.needed() {
		return
	}
	w.mu.Lock()
	urls := slices.Clone(w.offers[d])
	w.mu.Unlock()
	var counted []string
	for _, url := range urls {
		if _, err := w.tell(ctx, url, d, witness.Begun); err == nil {
			counted = append(counted, url)
		}
	}
	if len(counted) == 0 {
		slog.Warn("this machine has nowhere to remember that it tries this release, and no provider of it keeps count")
		return
	}
	slog.Info(fmt.Sprintf("this machine has nowhere to remember that it tries this release; counted at %s", strings.Join(counted, ", ")))
}

// goodTime is more than init gives a release on trial to become healthy.
const goodTime = 10 * time.Minute

// good tells a provider, once, that the release on trial came up: as soon as
// this node calls itself healthy.
func (w *witnesses) good(ctx context.Context, url string) {
	d, err := names.ParseDigest(w.trial)
	if err != nil || !w.needed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told[url] {
		return
	}
	if w.told == nil {
		w.told = map[string]bool{}
	}
	w.told[url] = true
	go func() {
		// The request that brought us here ends sooner.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodTime)
		defer cancel()
		for !w.healthy(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
		if _, err := w.tell(ctx, url, d, witness.Good); err == nil {
			slog.Info(fmt.Sprintf("%s knows that this release is good", url))
		}
	}()
}

func (w *witnesses) healthy(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.health, nil)
	if err != nil {
		return false
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tell waits for a provider no longer than an answer without a body may take.
func (w *witnesses) tell(ctx context.Context, url string, d names.Digest, word witness.Word) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return witness.Tell(ctx, w.client, strings.TrimSuffix(url, "/")+w.manifest, d, word)
}
