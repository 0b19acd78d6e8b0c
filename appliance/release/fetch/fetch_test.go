package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
	"phase/appliance/release/provide"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

// memory is a destination in RAM.
type memory struct {
	mu      sync.Mutex
	regions map[string]*region
	have    map[string][]byte
}

func newMemory() *memory { return &memory{regions: map[string]*region{}, have: map[string][]byte{}} }

func (m *memory) Region(name string, size int64) (Region, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &region{data: make([]byte, size), have: int64(len(m.have[name])), kept: -1}
	copy(r.data, m.have[name])
	m.regions[name] = r
	return r, nil
}

type region struct {
	mu   sync.Mutex
	data []byte
	have int64
	kept int64
	fail error
}

func (r *region) Have() int64 { return r.have }
func (r *region) Keep(n int64) error {
	r.kept = n
	return nil
}

func (r *region) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return 0, r.fail
	}
	if off+int64(len(p)) > int64(len(r.data)) {
		return 0, errors.New("written beyond the size that was asked for")
	}
	return copy(r.data[off:], p), nil
}

func (r *region) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return copy(p, r.data[off:]), nil
}

func (m *memory) check(t *testing.T, r storetest.Release) {
	t.Helper()
	for name, want := range r.Bytes {
		if got := m.regions[name]; got == nil || !bytes.Equal(got.data, want) {
			t.Errorf("the %s is not what was signed", name)
		}
	}
}

// serve starts a provider and returns its URL.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return s.URL
}

// honest is a real provider of a release.
func honest(t testing.TB, signer *storetest.Signer, r storetest.Release) http.Handler {
	t.Helper()
	s := store.New()
	s.AddRoot(signer.Root)
	if err := s.Add(t.Context(), r.Verified, r.Sources()); err != nil {
		t.Fatal(err)
	}
	m := r.Manifest()
	return provide.Handler(provide.Config{Store: s, Channel: m.Channel, Arch: m.Arch})
}

func TestRelease(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, map[string]int{"kernel": 1 << 20, "initramfs": 1, "rootfs": 5<<20 + 3})
	for _, providers := range []int{1, 2, 5} {
		var urls []string
		for range providers {
			urls = append(urls, serve(t, honest(t, signer, r)))
		}
		dst := newMemory()
		last := int64(0)
		report, err := Release(t.Context(), r.Verified, urls, dst, Options{Progress: func(done, total int64) {
			if last = done; done > total {
				t.Errorf("%d of %d bytes", done, total)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		dst.check(t, r)
		want := int64(1<<20 + 1 + 5<<20 + 3)
		if report.Bytes != want || last != want || len(report.Providers) != providers {
			t.Errorf("report %+v, progress %d, want %d bytes", report, last, want)
		}
	}
}

// A provider that dies in the middle costs no more than its part: what it sent
// is not sent again.
func TestReleaseProviderDies(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, map[string]int{"kernel": 100, "initramfs": 100, "rootfs": 4 << 20})
	h := honest(t, signer, r)
	var dead bool
	var mu sync.Mutex
	dying := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			panic(http.ErrAbortHandler)
		}
		if strings.Contains(req.URL.Path, r.Manifest().Artifacts["rootfs"].SHA256.Hex()) {
			dead = true
			w.Header().Set("Content-Length", fmt.Sprint(4<<20))
			_, _ = w.Write(r.Bytes["rootfs"][:1<<20])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, req)
	})
	dst := newMemory()
	report, err := Release(t.Context(), r.Verified, []string{serve(t, dying)}, dst, Options{})
	if refusal.CodeOf(err) != refusal.Unreachable {
		t.Fatalf("alone, it ended with %v", err)
	}
	got := dst.regions["rootfs"].kept
	if got == 0 || got != report.Bytes-200 {
		t.Fatalf("%d bytes are kept of %d received", got, report.Bytes)
	}
	if whole := dst.regions["kernel"].kept; whole != 100 {
		t.Errorf("%d bytes are kept of an artifact that had all 100", whole)
	}

	next := newMemory()
	next.have["rootfs"] = dst.regions["rootfs"].data[:got]
	report, err = Release(t.Context(), r.Verified, []string{serve(t, h)}, next, Options{})
	if err != nil {
		t.Fatal(err)
	}
	next.check(t, r)
	if report.Resumed != got || report.Bytes != 4<<20+200-got {
		t.Errorf("report %+v, want %d resumed", report, got)
	}
}

func TestReleaseResume(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	rootfs := r.Bytes["rootfs"]
	wrong := bytes.Clone(rootfs[:1000])
	wrong[3] ^= 1
	for _, c := range []struct {
		name    string
		have    []byte
		resumed int64
	}{
		{"a prefix", rootfs[:12345], 12345},
		{"everything", rootfs, int64(len(rootfs))},
		{"wrong bytes", wrong, 0},
		{"everything, wrong", append(bytes.Clone(rootfs[:len(rootfs)-1]), ^rootfs[len(rootfs)-1]), 0},
		{"more than there can be", append(bytes.Clone(rootfs), 0), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := newMemory()
			dst.have["rootfs"] = c.have
			report, err := Release(t.Context(), r.Verified, []string{serve(t, honest(t, signer, r))}, dst, Options{Names: []string{"rootfs"}})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst.regions["rootfs"].data, rootfs) {
				t.Error("the rootfs is not what was signed")
			}
			if report.Resumed != c.resumed || report.Providers[0].Dropped != nil {
				t.Errorf("report %+v, want %d resumed", report, c.resumed)
			}
		})
	}
}

// A plain file server of the folder is a provider too, without /blobs/ and
// without ranges.
func TestReleasePlainServer(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	plain := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for name, data := range r.Bytes {
			if req.URL.Path == "/mirror/stable/x86_64/"+layout.FileName(name) {
				_, _ = w.Write(data)
				return
			}
		}
		http.NotFound(w, req)
	})
	dst := newMemory()
	dst.have["rootfs"] = r.Bytes["rootfs"][:1000]
	if _, err := Release(t.Context(), r.Verified, []string{serve(t, plain) + "/mirror"}, dst, Options{}); err != nil {
		t.Fatal(err)
	}
	dst.check(t, r)
}

func TestReleaseEndsByItself(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	if _, err := Release(t.Context(), trust.Verified{}, nil, newMemory(), Options{}); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("fetching what nobody verified: %v", err)
	}
	if _, err := Release(t.Context(), r.Verified, nil, newMemory(), Options{}); refusal.CodeOf(err) != refusal.Unreachable {
		t.Errorf("fetching from nobody: %v", err)
	}
	if _, err := Release(t.Context(), r.Verified, []string{"ftp://x", "http://", "::"}, newMemory(), Options{}); refusal.CodeOf(err) != refusal.Unreachable {
		t.Errorf("fetching from addresses that are none: %v", err)
	}
	if _, err := Release(t.Context(), r.Verified, nil, newMemory(), Options{Names: []string{"dtb"}}); err == nil {
		t.Error("fetching an artifact the manifest does not name")
	}
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	if _, err := Release(ctx, r.Verified, []string{url}, newMemory(), Options{}); !errors.Is(err, stop) {
		t.Errorf("after its context ended: %v", err)
	}
	full := fullDisk{newMemory()}
	_, err := Release(t.Context(), r.Verified, []string{serve(t, honest(t, signer, r))}, full, Options{})
	if !errors.Is(err, syscall.ENOSPC) || refusal.CodeOf(err) != "" {
		t.Errorf("with a full disk: %v", err)
	}
}

type fullDisk struct{ *memory }

func (f fullDisk) Region(name string, size int64) (Region, error) {
	r, err := f.memory.Region(name, size)
	r.(*region).fail = syscall.ENOSPC
	return r, err
}

func BenchmarkRelease(b *testing.B) {
	signer := storetest.NewSigner(b)
	r := signer.Release(b, "stable", "x86_64", 7, map[string]int{"kernel": 16 << 20, "initramfs": 2 << 20, "rootfs": 22 << 20})
	for _, providers := range []int{1, 4} {
		b.Run(fmt.Sprintf("%dproviders", providers), func(b *testing.B) {
			var urls []string
			for range providers {
				urls = append(urls, serve(b, honest(b, signer, r)))
			}
			b.SetBytes(40 << 20)
			for b.Loop() {
				if _, err := Release(b.Context(), r.Verified, urls, newMemory(), Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestReleaseOverALossyNetwork: connections that stall after a while, as TCP does
// when much is lost, are begun anew while they bring something and nobody else
// is there; what came is kept.
func TestReleaseOverALossyNetwork(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, map[string]int{"kernel": 1 << 20, "initramfs": 1, "rootfs": 3<<20 + 3})
	var stalls atomic.Int64
	lossy := func(after int) http.Handler {
		h := honest(t, signer, r)
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			h.ServeHTTP(&stalling{w, req, after, &stalls}, req)
		})
	}
	for _, providers := range []int{1, 2} {
		stalls.Store(0)
		var urls []string
		for range providers {
			urls = append(urls, serve(t, lossy(700_000)))
		}
		dst := newMemory()
		report, err := Release(t.Context(), r.Verified, urls, dst, impatient)
		if err != nil {
			t.Fatalf("%d providers: %v", providers, err)
		}
		dst.check(t, r)
		if report.Bytes != 4<<20+4 || stalls.Load() < 4 {
			t.Errorf("%d bytes after %d stalls", report.Bytes, stalls.Load())
		}
	}
	// One that brings less than is worth waiting for is dropped as ever.
	_, err := Release(t.Context(), r.Verified, []string{serve(t, lossy(1000))}, newMemory(), impatient)
	if refusal.CodeOf(err) != refusal.Slow {
		t.Errorf("a trickle: %v", err)
	}
}

// stalling hands over so many bytes, and then nothing.
type stalling struct {
	http.ResponseWriter
	request *http.Request
	left    int
	stalls  *atomic.Int64
}

func (s *stalling) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:min(len(p), s.left)])
	if s.left -= n; err != nil || n == len(p) {
		return n, err
	}
	s.stalls.Add(1)
	if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	<-s.request.Context().Done()
	return n, s.request.Context().Err()
}
