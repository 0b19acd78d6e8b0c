package kept_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/fetch"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout"
	"phase/appliance/release/provide"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
	"phase/appliance/release/update/kept"
	"phase/tests/storetest"
	"phase/tests/storetest/ondisk"
)

// node is a keeper of a node that runs version 10, and the one who signs for it.
type node struct {
	*kept.Keeper
	signer *storetest.Signer
	dir    string
	boots  int
}

func newNode(t *testing.T) *node { return newNodeIn(t, t.TempDir()) }

func newNodeIn(t testing.TB, dir string) *node {
	t.Helper()
	n := &node{signer: storetest.NewSigner(t), dir: dir}
	s, err := disk.Create(filepath.Join(n.dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	n.Keeper = &kept.Keeper{
		Store: s, Roots: walk.New(n.signer.Root), Running: n.release(t, 10).Verified, Channel: "stable", Arch: names.RunningArch(),
		Journal: n.journal,
		Machine: func() (kexec.Options, error) { return kexec.Options{}, errors.New("no machine") },
	}
	return n
}

func (n *node) journal() trial.Journal {
	return trial.InFolder(n.dir, trial.Boot{ID: time.Duration(n.boots).String(), Up: func() time.Duration { return time.Minute }})
}

func (n *node) release(t testing.TB, version uint64) storetest.Release {
	return n.signer.Release(t, "stable", names.RunningArch(), version, storetest.Sizes)
}

// try jumps into a release as often, and says whether it was good then.
func (n *node) try(t testing.TB, d names.Digest, times int, good bool) {
	t.Helper()
	for range times {
		n.boots++
		if err := n.journal().Begin(d, 0, trial.Expect{}); err != nil {
			t.Fatal(err)
		}
	}
	if good {
		if err := n.journal().Good(d); err != nil {
			t.Fatal(err)
		}
	}
}

// provider serves releases over HTTP and counts the requests for their bytes.
func provider(t *testing.T, releases ...storetest.Release) (url string, asked *atomic.Int64) {
	t.Helper()
	s := store.New()
	for _, r := range releases {
		if err := s.Add(t.Context(), r.Verified, r.Sources()); err != nil {
			t.Fatal(err)
		}
	}
	asked = &atomic.Int64{}
	h := provide.Handler(provide.Config{Store: s, Channel: "stable", Arch: names.RunningArch()})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/blobs/") {
			asked.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func (n *node) fetch(ctx context.Context, r storetest.Release, url string) error {
	p, _, err := n.Fetch(ctx, r.Verified, []string{url}, fetch.Options{})
	if err == nil {
		err = p.Close()
	}
	return err
}

func (n *node) startable() (list []uint64) {
	for _, v := range n.Startable(true) {
		list = append(list, v.Manifest().Version)
	}
	return list
}

func (n *node) held() (list []uint64) {
	for _, c := range n.List() {
		list = append(list, c.Manifest().Version)
	}
	return list
}

func want(t *testing.T, what string, got, want []uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// TestFetch: what is fetched is kept, is not fetched a second time, and is what the
// node may start; damage is found and only the damaged part is fetched again.
func TestFetch(t *testing.T) {
	n := newNode(t)
	next := n.release(t, 20)
	url, asked := provider(t, next)
	if err := n.fetch(t.Context(), next, url); err != nil {
		t.Fatal(err)
	}
	want(t, "startable", n.startable(), []uint64{20})
	whole := asked.Load()
	if err := n.fetch(t.Context(), next, url); err != nil || asked.Load() != whole {
		t.Errorf("the second time %d requests, %v", asked.Load()-whole, err)
	}
	kernel := next.Manifest().Artifacts["kernel"].SHA256
	data := slices.Clone(next.Bytes["kernel"])
	data[0] ^= 1
	if err := os.WriteFile(n.Store.BlobPath(kernel), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "startable with a damaged kernel", n.startable(), nil)
	if err := n.fetch(t.Context(), next, url); err != nil || asked.Load() == whole || asked.Load() >= 2*whole {
		t.Errorf("the repair took %d requests, all took %d; %v", asked.Load()-whole, whole, err)
	}
	want(t, "startable after the repair", n.startable(), []uint64{20})
	n.try(t, next.Digest(), 2, false)
	want(t, "startable after two tries", n.startable(), nil)
}

// TestKeepRunning: the release that runs from memory is kept too, byte for byte.
func TestKeepRunning(t *testing.T) {
	n := newNode(t)
	running := n.release(t, 10)
	n.Running = running.Verified
	files := map[string]string{}
	for name, data := range running.Bytes {
		files[name] = filepath.Join(t.TempDir(), layout.FileName(name))
		if err := os.WriteFile(files[name], data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wrong := map[string]string{"kernel": files["rootfs"], "initramfs": files["initramfs"], "rootfs": files["kernel"]}
	if err := n.KeepRunning(t.Context(), wrong); err == nil {
		t.Error("it kept files that are swapped")
	}
	want(t, "held", n.held(), nil)
	if err := n.KeepRunning(t.Context(), map[string]string{"kernel": "/nowhere"}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for range 2 {
		if err := n.KeepRunning(t.Context(), files); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "held", n.held(), []uint64{10})
	if list := n.List(); !list[0].Whole() {
		t.Errorf("missing %q", list[0].Missing)
	}
	if err := os.WriteFile(n.Store.BlobPath(running.Manifest().Artifacts["rootfs"].SHA256), make([]byte, len(running.Bytes["rootfs"])), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Check(t.Context()), n.KeepRunning(t.Context(), files), n.Check(t.Context())); err != nil || !n.List()[0].Whole() {
		t.Errorf("after damage to the disk: missing %q, %v", n.List()[0].Missing, err)
	}
}

// TestFloor: nothing older than what was ever verified is taken, across restarts;
// where nothing was, the running release is the floor.
func TestFloor(t *testing.T) {
	n := newNode(t)
	if v, d := n.Floor(); v != 10 || d != n.Running.Digest() {
		t.Errorf("at first %d %s", v, d)
	}
	next := n.release(t, 20)
	n.Verified(next.Verified)
	n.Verified(n.release(t, 15).Verified)
	if v, d := n.Floor(); v != 20 || d != next.Digest() {
		t.Errorf("then %d %s", v, d)
	}
	n.Channel = "testing"
	if v, d := n.Floor(); v != 0 || !d.IsZero() {
		t.Errorf("on another channel %d %s", v, d)
	}
}

// TestPrune: three releases stay: the running one and the newest good one always,
// a failed one never for long.
func TestPrune(t *testing.T) {
	n := newNode(t)
	keep := func(version uint64, tries int, good bool) trust.Verified {
		t.Helper()
		r := n.release(t, version)
		if err := ondisk.Keep(n.Store, r); err != nil {
			t.Fatal(err)
		}
		n.try(t, r.Digest(), tries, good)
		return r.Verified
	}
	n.Running = keep(10, 1, true)
	keep(11, 1, true)
	keep(12, 2, false) // it failed
	keep(13, 1, true)
	keep(14, 1, false)
	if err := n.Prune(); err != nil {
		t.Fatal(err)
	}
	want(t, "held", n.held(), []uint64{14, 13, 10})
	old := keep(5, 1, true)
	if err := n.Store.SetPin(disk.Pin{Release: old.Digest()}); err != nil {
		t.Fatal(err)
	}
	if err := n.Prune(); err != nil {
		t.Fatal(err)
	}
	want(t, "held with one that the owner stays on", n.held(), []uint64{13, 10, 5})
	want(t, "startable", n.startable(), []uint64{5})
}

// TestNoRoom: a disk that has no room for a release says so, and loses nothing. What
// it has of the release already needs no more room.
func TestNoRoom(t *testing.T) {
	n := newNodeIn(t, small(t, "8m"))
	if err := ondisk.Keep(n.Store, n.release(t, 10)); err != nil {
		t.Fatal(err)
	}
	n.Running = n.List()[0].Verified
	err := n.fetch(t.Context(), n.release(t, 20), "http://127.0.0.1:1")
	if !errors.Is(err, kept.ErrNoRoom) || !strings.Contains(err.Error(), "are needed to keep version 20") {
		t.Errorf("on a full disk: %v", err)
	}
	want(t, "held", n.held(), []uint64{10})

	// Just enough: the reserve, and the release.
	n = newNodeIn(t, small(t, "16800k"))
	next := n.release(t, 20)
	d, err := n.Store.Begin(next.Verified)
	if err != nil {
		t.Fatal(err)
	}
	region, err := d.Region("rootfs", int64(len(next.Bytes["rootfs"])))
	if err == nil {
		_, err = region.WriteAt(next.Bytes["rootfs"][:300_000], 0)
	}
	if err = errors.Join(err, region.Keep(300_000), d.Close()); err != nil {
		t.Fatal(err)
	}
	url, _ := provider(t, next)
	if err := n.fetch(t.Context(), next, url); err != nil {
		t.Errorf("going on with what was begun: %v", err)
	}
}

// small is a disk of its own.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a small disk needs root: %v, %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v, %s", err, out)
		}
	})
	return dir
}
