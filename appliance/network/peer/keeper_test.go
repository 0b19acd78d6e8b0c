package peer

import (
	"crypto/rand"
	"testing"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"phase/appliance/base/identity"
)

// A dial that fails when another has begun anew meanwhile is tried again later,
// and is the end of nothing.
func TestFailedDialBegunAnew(t *testing.T) {
	ids := make([]identity.Identity, 2)
	for i := range ids {
		var err error
		if ids[i], err = identity.Ephemeral(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	nobody, err := ID(ids[1].PeerID())
	if err != nil {
		t.Fatal(err)
	}
	at := libpeer.AddrInfo{ID: nobody, Addrs: []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/127.0.0.1/tcp/1")}}
	n, err := Open(Config{Identity: ids[0], Bootstrap: []string{at.Addrs[0].String() + "/p2p/" + nobody.String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.keeper.again() // as a new address does
	began := time.Now()
	n.keeper.try(t.Context(), at)
	n.keeper.mu.Lock()
	defer n.keeper.mu.Unlock()
	if s := n.keeper.seeds[nobody]; s.retry != firstRetry || !s.next.After(began) {
		t.Errorf("it is dialled again at %v, after a pause of %v", s.next, s.retry)
	}
}
