package update

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/machine/settings"
	"phase/appliance/network/capability"
	"phase/tests/storetest"
)

// says is the record of a node at which releases have failed.
func says(t *testing.T, id identity.Identity, failed ...names.Digest) []byte {
	t.Helper()
	r := capability.Record{
		PeerID: id.PeerID(), Arch: "x86_64", Cores: 1, MemoryMB: 1, TimeoutSeconds: 1, OutputBytes: 1, Accept: "none",
		Runtimes: []capability.Runtime{{Name: "x", Version: "1"}}, Issued: time.Now().UTC(), Expires: time.Now().Add(time.Minute).UTC(),
	}
	for _, d := range failed {
		r.Failed = append(r.Failed, capability.Failed{Version: 7, Digest: d.String(), Reason: capability.Plain("it hung\n")})
	}
	data, err := capability.Sign(r, id.Public(), time.Now(), id.Sign)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestFailures: what fails at a peer is shown, holds a release back when the peer is on
// the operator's list, and no longer once that peer says otherwise; a record of another
// key counts for nothing.
func TestFailures(t *testing.T) {
	var ids []identity.Identity
	for range 2 + maxReporters + 3 {
		id, err := identity.Ephemeral(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	canary, admin, strangers := ids[0], ids[1], ids[2:]
	signer := storetest.NewSigner(t)
	running := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes).Verified
	next := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes).Verified
	n := node{running: running, watchdog: "none", options: settings.Options{Canary: canary.PeerID(), Admin: admin.PeerID()}}
	n.failures = newFailures(n.options)
	held := func(what string, by string) {
		t.Helper()
		if why, _ := n.may(next); (why == "") != (by == "") || !strings.Contains(why, by) {
			t.Errorf("%s: %q", what, why)
		}
	}
	held("nobody says anything", "")
	for _, s := range strangers {
		n.failures.note(s.PeerID(), says(t, s, next.Digest()), time.Now())
	}
	held("strangers", "")
	if list := n.failures.all(); len(list) != maxReporters+2 || list[0].Counts {
		t.Errorf("%d of strangers are known", len(list))
	}
	n.failures.note(canary.PeerID(), says(t, strangers[0], next.Digest()), time.Now())
	held("a stranger in the canary's name", "")
	n.failures.note(canary.PeerID(), says(t, canary, names.Sum([]byte("another"))), time.Now())
	held("another release", "")
	n.failures.note(canary.PeerID(), says(t, canary, next.Digest()), time.Now())
	held("the canary", canary.PeerID()+", which is on the operator's list: it hung")
	if list := n.failures.all(); !list[0].Counts || list[0].Version != 7 {
		t.Errorf("first: %s", fmt.Sprint(list[0]))
	}
	n.failures.note(canary.PeerID(), says(t, canary), time.Now())
	held("the canary says otherwise", "")
	n.failures.note(admin.PeerID(), says(t, admin, next.Digest()), time.Now())
	held("an admin", admin.PeerID())
}
