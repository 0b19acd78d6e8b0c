package mirror

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/provide"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store"
	"phase/appliance/release/survey"
	"phase/tests/await"
	"phase/tests/storetest"
)

// provider serves a release that can be exchanged for another.
type provider struct {
	now    atomic.Pointer[http.Handler]
	signer *storetest.Signer
}

func (p *provider) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	(*p.now.Load()).ServeHTTP(w, req)
}

func (p *provider) offer(t *testing.T, r storetest.Release) {
	t.Helper()
	s := store.New()
	s.AddRoot(p.signer.Root)
	if err := s.Add(t.Context(), r.Verified, r.Sources()); err != nil {
		t.Fatal(err)
	}
	h := provide.Handler(provide.Config{Store: s, Channel: "stable", Arch: "arm64"})
	p.now.Store(&h)
}

// mirroring is a mirror of one provider in a folder.
func mirroring(signer *storetest.Signer, dir, url string) *Mirror {
	known, client := walk.New(signer.Root), fetch.NewClient()
	return &Mirror{
		Dir: dir, Channel: "stable", Arch: "arm64", Roots: known, Now: time.Now,
		Free: func() (int64, error) { return 1 << 30, nil },
		Survey: &survey.Survey{Named: []string{url}, Get: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			return known.Manifest(ctx, client, url, channel, arch)
		}},
	}
}

// run runs a mirror until the test stops it.
func run(t *testing.T, m *Mirror) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	ended, over := make(chan error, 1), errors.New("the test is over")
	go func() { ended <- m.Run(ctx) }()
	return func() {
		cancel(over)
		if err := <-ended; !errors.Is(err, over) {
			t.Errorf("the mirror ended with %v", err)
		}
	}
}

// serves waits until plasmd would serve a version from the folder.
func serves(t *testing.T, signer *storetest.Signer, dir string, version uint64) {
	t.Helper()
	if err := await.Until(t.Context(), func() bool {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return false
		}
		defer root.Close()
		s := store.New()
		problems := store.NewFolder(s, root, signer.Root).Scan(t.Context(), []string{"stable"}, []string{"arm64"})
		held := s.Releases()
		return len(problems) == 0 && len(held) == 1 && held[0].Manifest().Version == version
	}); err != nil {
		t.Fatalf("version %d is not there: %v", version, err)
	}
}

// TestMirror: what a provider has of another arch is kept, exchanged for a newer
// one, mended, and never taken back to an older one.
func TestMirror(t *testing.T) {
	signer := storetest.NewSigner(t)
	p := &provider{signer: signer}
	p.offer(t, signer.Release(t, "stable", "arm64", 7, storetest.Sizes))
	srv := httptest.NewServer(p)
	defer srv.Close()
	dir := filepath.Join(t.TempDir(), layout.MirrorFolder)

	m := mirroring(signer, dir, srv.URL)
	stop := run(t, m)
	serves(t, signer, dir, 7)
	p.offer(t, signer.Release(t, "stable", "arm64", 9, storetest.Sizes))
	m.Survey.Again()
	serves(t, signer, dir, 9)
	stop()

	file := filepath.Join(dir, layout.Release("stable", "arm64"), layout.FileName("rootfs"))
	if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop = run(t, mirroring(signer, dir, srv.URL))
	serves(t, signer, dir, 9)
	stop()

	old := signer.Release(t, "stable", "arm64", 8, storetest.Sizes)
	p.offer(t, old)
	m = mirroring(signer, dir, srv.URL)
	stop, began := run(t, m), time.Now()
	if err := await.Until(t.Context(), func() bool { waiting, all := m.Survey.Waiting(began); return all == 1 && waiting == 0 }); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := m.verify(old.Envelope()); refusal.CodeOf(err) != refusal.Rollback {
		t.Errorf("version 8 over 9: %v", err)
	}
	serves(t, signer, dir, 9)
}

// TestRoom: a disk that is too small for it keeps what it has, and says so.
func TestRoom(t *testing.T) {
	signer := storetest.NewSigner(t)
	p := &provider{signer: signer}
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	p.offer(t, r)
	srv := httptest.NewServer(p)
	defer srv.Close()
	m := mirroring(signer, t.TempDir(), srv.URL)
	m.Spare = 1 << 30
	if err := m.room(r.Verified, []string{"kernel"}); refusal.CodeOf(err) != refusal.Size {
		t.Errorf("with room for nothing: %v", err)
	}
	m.Spare = 0
	if err := m.room(r.Verified, []string{"kernel"}); err != nil {
		t.Errorf("with room: %v", err)
	}
}
