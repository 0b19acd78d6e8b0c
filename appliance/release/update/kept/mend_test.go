package kept_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"phase/appliance/release/fetch"
	"phase/appliance/release/store/disk"
	"phase/tests/storetest"
	"phase/tests/storetest/ondisk"
)

// good brings a release into the store and says that it was good.
func (n *node) good(t *testing.T, version uint64) storetest.Release {
	t.Helper()
	r := n.release(t, version)
	if err := ondisk.Keep(n.Store, r); err != nil {
		t.Fatal(err)
	}
	n.try(t, r.Digest(), 1, true)
	return r
}

// damage changes a byte of an artifact on the disk, and has the store find it.
func (n *node) damage(t *testing.T, r storetest.Release, name string) {
	t.Helper()
	data := slices.Clone(r.Bytes[name])
	data[len(data)/2] ^= 1
	if err := os.WriteFile(n.Store.BlobPath(r.Manifest().Artifacts[name].SHA256), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// damaged are the versions that are not whole, as /status has them.
func (n *node) damaged() (list []uint64) {
	for _, c := range n.Damaged() {
		list = append(list, c.Manifest().Version)
	}
	return list
}

// TestMend: what is damaged of a release that a node falls back on is fetched again,
// and no more than that, from a provider that has it among those that do not, or lie;
// whoever it was offered by.
func TestMend(t *testing.T) {
	n := newNode(t)
	last, running := n.good(t, 20), n.good(t, 30)
	n.Running = running.Verified
	n.damage(t, last, "kernel")
	want(t, "damaged", n.damaged(), []uint64{20})
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", last.Manifest().Created, strings.NewReader(strings.Repeat("x", len(last.Bytes["kernel"]))))
	}))
	t.Cleanup(liar.Close)
	newer, _ := provider(t, n.release(t, 40))
	has, asked := provider(t, last)
	if err := n.Mend(t.Context(), []string{liar.URL, newer, has}, fetch.Options{}); err != nil {
		t.Fatal(err)
	}
	want(t, "damaged after the repair", n.damaged(), nil)
	if err := n.Check(t.Context()); err != nil || len(n.Damaged()) > 0 {
		t.Errorf("what came is not right: %v", err)
	}
	once := asked.Load()
	if err := n.Mend(t.Context(), []string{has}, fetch.Options{}); err != nil || asked.Load() != once || once == 0 {
		t.Errorf("%d requests, and %d for nothing; %v", once, asked.Load()-once, err)
	}
}

// TestMendGivesWay: a repair from a provider that takes its time does not keep a
// release that is to be jumped into waiting.
func TestMendGivesWay(t *testing.T) {
	n := newNode(t)
	last := n.good(t, 20)
	n.Running = n.good(t, 30).Verified
	n.damage(t, last, "kernel")
	asked, over := make(chan struct{}, 1), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	t.Cleanup(func() { close(over); slow.Close() })
	mended := make(chan error, 1)
	go func() { mended <- n.Mend(t.Context(), []string{slow.URL}, fetch.Options{}) }()
	<-asked
	next := n.release(t, 40)
	has, _ := provider(t, next)
	if err := n.fetch(t.Context(), next, has); err != nil {
		t.Error(err)
	}
	if err := <-mended; err == nil || !strings.Contains(err.Error(), "a download goes first") {
		t.Errorf("the repair: %v", err)
	}
}

// TestMendLater: what nobody has stays in the store, said and never started, through
// prunings too; once somebody has it, it is mended.
func TestMendLater(t *testing.T) {
	n := newNode(t)
	next := n.good(t, 20) // newer than what runs: it would be jumped into
	n.damage(t, next, "rootfs")
	other, _ := provider(t, n.release(t, 15))
	for _, providers := range [][]string{nil, {other}} {
		err := n.Mend(t.Context(), providers, fetch.Options{})
		if err == nil || !strings.Contains(err.Error(), `version 20 of the store is damaged, lacks ["rootfs"] and is not started`) {
			t.Errorf("with %d providers: %v", len(providers), err)
		}
		if err := n.Prune(); err != nil {
			t.Fatal(err)
		}
		want(t, "held", n.held(), []uint64{20})
		want(t, "damaged", n.damaged(), []uint64{20})
		want(t, "startable", n.startable(), nil)
	}
	has, _ := provider(t, next)
	if err := n.Mend(t.Context(), []string{other, has}, fetch.Options{}); err != nil {
		t.Fatal(err)
	}
	want(t, "startable after the repair", n.startable(), []uint64{20})
}

// TestMendWanted: the release that the owner keeps the node on is mended, however
// old; one that nothing needs, and one that failed, are not asked for.
func TestMendWanted(t *testing.T) {
	n := newNode(t)
	pinned, old, failed := n.good(t, 5), n.good(t, 6), n.release(t, 50)
	n.good(t, 20)
	n.Running = n.good(t, 30).Verified
	if err := ondisk.Keep(n.Store, failed); err != nil {
		t.Fatal(err)
	}
	n.try(t, failed.Digest(), 2, false)
	if err := n.Store.SetPin(disk.Pin{Release: pinned.Digest()}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []storetest.Release{pinned, old, failed} {
		n.damage(t, r, "initramfs")
	}
	has, asked := provider(t, pinned, old, failed)
	if err := n.Mend(t.Context(), []string{has}, fetch.Options{}); err != nil || asked.Load() == 0 {
		t.Errorf("%d requests, %v", asked.Load(), err)
	}
	want(t, "damaged", n.damaged(), []uint64{50, 6})
	want(t, "startable", n.startable(), []uint64{5})
}
