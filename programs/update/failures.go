package update

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/daemon/api"
	"phase/appliance/machine/settings"
	"phase/appliance/network/capability"
	"phase/appliance/release/operator"
)

// Times between two looks at what peers say, doubling.
const (
	firstAsk   = 2 * time.Second
	longestAsk = time.Minute
)

// maxReporters is of how many peers failures are remembered, beside those that
// count.
const maxReporters = 32

// failures are the releases that did not come up at peers, as each says in a record
// that it has signed. Those of the operator's list hold a release back here; what
// strangers say is shown. What is known stays until its peer says otherwise.
type failures struct {
	counts map[string]bool // peer ids

	mu sync.Mutex
	by map[string][]operator.Failure
}

func newFailures(o settings.Options) *failures {
	f := &failures{counts: map[string]bool{}, by: map[string][]operator.Failure{}}
	for _, list := range []string{o.Admin, o.Canary} {
		for peer := range strings.SplitSeq(list, ",") {
			if _, err := identity.ParsePeerID(peer); err == nil {
				f.counts[peer] = true
			}
		}
	}
	return f
}

// watch asks plasmd for what the peers of this node say, until ctx ends.
func (f *failures) watch(ctx context.Context, n *node) {
	client := api.NewClient(n.Socket)
	for wait := firstAsk; ; wait = min(2*wait, longestAsk) {
		peers, err := client.Peers(ctx)
		if err != nil {
			slog.Debug("what has failed at peers", "error", err)
		}
		for _, p := range peers.Peers {
			if len(p.Signed) > 0 {
				f.note(p.Peer, p.Signed, n.now())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// note takes what a peer says. plasmd is not believed: the record must be the
// peer's own.
func (f *failures) note(peer string, signed []byte, now time.Time) {
	key, err := identity.ParsePeerID(peer)
	if err != nil {
		return
	}
	r, err := capability.Verify(signed, peer, key, now)
	if err != nil {
		slog.Debug("what has failed at a peer", "peer", peer, "error", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(r.Failed) == 0 {
		delete(f.by, peer)
		return
	}
	if f.by[peer] == nil && !f.counts[peer] && len(f.by) >= maxReporters+len(f.counts) {
		return
	}
	var list []operator.Failure
	for _, one := range r.Failed {
		list = append(list, operator.Failure{Peer: peer, Version: uint64(one.Version), Digest: one.Digest, Reason: one.Reason, Counts: f.counts[peer]})
	}
	if f.by[peer] == nil && f.counts[peer] {
		slog.Warn(fmt.Sprintf("version %d did not come up at %s: %s", list[0].Version, peer, list[0].Reason))
	}
	f.by[peer] = list
}

// all are the failures known, those that count first.
func (f *failures) all() (list []operator.Failure) {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, of := range f.by {
		list = append(list, of...)
	}
	slices.SortFunc(list, func(a, b operator.Failure) int {
		if a.Counts != b.Counts {
			if a.Counts {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(b.Version, a.Version))
	})
	return list
}

// against is a failure of a release that counts.
func (f *failures) against(release names.Digest) (operator.Failure, bool) {
	list := f.all()
	if i := slices.IndexFunc(list, func(one operator.Failure) bool { return one.Counts && one.Digest == release.String() }); i >= 0 {
		return list[i], true
	}
	return operator.Failure{}, false
}
