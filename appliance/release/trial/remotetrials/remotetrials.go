// Package remotetrials lets providers count the trials of machines that cannot:
// those with no disk, and no variables in their firmware. Such a machine says to
// the providers of a release that it is about to jump into it, and later that it
// came up; after a restart it asks them how often it has tried, and leaves alone
// what has died under it. A provider's answer can keep a machine from that
// provider's own release and from nothing else, so a liar gains no more than by
// not serving. A provider knows a machine by a name that it gives itself for this
// release alone, counts only tries of releases it holds, and forgets the oldest
// when there are too many.
//
// It travels in the header of a request for the manifest:
//
//	Phase-Trial: sha256:<hex>; asked; <name>     → Phase-Tries: <n>
//	Phase-Trial: sha256:<hex>; begun; <name>     → Phase-Tries: <n + 1>
//	Phase-Trial: sha256:<hex>; good; <name>      → Phase-Tries: 0
//
// It is apart from package trial because init, which that one serves, has no
// room for net/http.
package remotetrials

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// Client is the side of the machine that forgets.
type Client struct {
	HTTP *http.Client
	// Manifest is the path of the manifest at a provider, from the slash on.
	Manifest string
	// Health is the URL that answers 200 as soon as this node is healthy.
	Health string
	// Needed says whether this machine forgets its trials and may say so.
	Needed func() bool
	// Machine is what this machine knows of itself and no other does, such as the
	// serial numbers of its parts; it is hashed, see Name.
	Machine []byte
	// Up is how long this machine has been up.
	Up func() time.Duration
	// Trial is the digest of the release on trial, which this node runs, or empty.
	Trial string

	mu     sync.Mutex
	offers map[names.Digest][]string // URLs that offered it and count
	knows  []string                  // URLs of providers that know, or will, that the trial went well
}

// Tried refuses a release that this machine has begun too often, as the
// provider at url, which offers it, has counted. That a provider does not count
// is no reason against its release.
func (c *Client) Tried(ctx context.Context, url string, v trust.Verified) error {
	if !c.Needed() {
		return nil
	}
	tries, err := c.say(ctx, url, v.Digest(), asked)
	if err != nil {
		return nil
	}
	if up, again := trial.Wait(tries, false); !again || c.Up() < up {
		return refusal.New(refusal.FailedBefore, "version %d was tried on this machine %d times and did not come up, as this provider has counted", v.Manifest().Version, tries)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offers == nil {
		c.offers = map[names.Digest][]string{}
	}
	if have := c.offers[v.Digest()]; !slices.Contains(have, url) {
		c.offers[v.Digest()] = append(have, url)
	}
	return nil
}

// Begin says to all that offered a release that it is about to be tried.
func (c *Client) Begin(ctx context.Context, d names.Digest) {
	if !c.Needed() {
		return
	}
	c.mu.Lock()
	urls := slices.Clone(c.offers[d])
	c.mu.Unlock()
	var counted []string
	for _, url := range urls {
		if _, err := c.say(ctx, url, d, begun); err == nil {
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

// Good says to the provider at url, once, that the release on trial came up: as
// soon as this node calls itself healthy. It does not wait for that.
func (c *Client) Good(ctx context.Context, url string) {
	d, err := names.ParseDigest(c.Trial)
	if err != nil || !c.Needed() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.knows, url) {
		return
	}
	c.knows = append(c.knows, url)
	go func() {
		// The request that brought us here ends sooner.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodTime)
		defer cancel()
		for !c.healthy(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
		if _, err := c.say(ctx, url, d, good); err == nil {
			slog.Info(fmt.Sprintf("%s knows that this release is good", url))
		}
	}()
}

func (c *Client) healthy(ctx context.Context) bool {
	resp, err := c.head(ctx, c.Health, nil)
	return err == nil && resp.StatusCode == http.StatusOK
}

// say tells the provider at url about a trial, and returns how often this
// machine has begun it since it was good last. A provider that does not count
// is an error. An answer without a body takes no longer than 5 s.
func (c *Client) say(ctx context.Context, url string, d names.Digest, s state) (tries int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := c.head(ctx, strings.TrimSuffix(url, "/")+c.Manifest, http.Header{trialHeader: {d.String() + "; " + string(s) + "; " + Name(c.Machine, d)}})
	if err != nil {
		return 0, fmt.Errorf("saying how a trial goes: %w", err)
	}
	n, err := strconv.ParseUint(resp.Header.Get(triesHeader), 10, 16)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("saying how a trial goes: %s keeps no count of trials", url)
	}
	return int(n), nil
}

func (c *Client) head(ctx context.Context, url string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	return resp, resp.Body.Close()
}
