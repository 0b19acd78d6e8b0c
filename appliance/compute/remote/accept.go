package remote

import (
	"fmt"
	"slices"
	"strings"

	"phase/appliance/base/identity"
)

// Accept says whose jobs this node runs. The zero value is nobody's.
type Accept struct {
	all   bool
	peers map[string]bool
}

// ParseAccept reads "none", "all", or peer ids with commas between them.
func ParseAccept(text string) (Accept, error) {
	switch text {
	case "", "none":
		return Accept{}, nil
	case "all":
		return Accept{all: true}, nil
	}
	a := Accept{peers: map[string]bool{}}
	for id := range strings.SplitSeq(text, ",") {
		id = strings.TrimSpace(id)
		if _, err := identity.ParsePeerID(id); err != nil {
			return Accept{}, fmt.Errorf("accept: none, all, or peer ids with commas between them: %w", err)
		}
		a.peers[id] = true
	}
	return a, nil
}

// Allows says whether jobs of this peer are run.
func (a Accept) Allows(peerID string) bool { return a.all || a.peers[peerID] }

// Kind is "none", "all" or "some", as a capability record tells it.
func (a Accept) Kind() string {
	switch {
	case a.all:
		return "all"
	case len(a.peers) > 0:
		return "some"
	}
	return "none"
}

// String is what ParseAccept reads.
func (a Accept) String() string {
	if !a.all && len(a.peers) > 0 {
		ids := make([]string, 0, len(a.peers))
		for id := range a.peers {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return strings.Join(ids, ",")
	}
	return a.Kind()
}
