package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"phase/appliance/provide"
	"phase/appliance/release"
	"phase/appliance/store"
	"phase/appliance/store/storetest"
	"phase/appliance/trust"
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
	sources := map[string]store.Source{}
	for name, data := range r.Bytes {
		sources[name] = store.Bytes(data)
	}
	if err := s.Add(t.Context(), r.Verified, sources); err != nil {
		t.Fatal(err)
	}
	m := r.Manifest()
	return provide.Handler(provide.Config{Store: s, Channel: m.Channel, Arch: m.Arch})
}

// impatient keeps tests of slow providers short.
var impatient = Options{Patience: 300 * time.Millisecond, pause: time.Millisecond}

// hostile are providers that must not stop a fetch, and, alone, are refused for
// what they do. Each is made around an honest one.
var hostile = []struct {
	name string
	code trust.Code
	make func(t *testing.T, honest http.Handler, r storetest.Release) http.Handler
}{
	{"other bytes", trust.Digest, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { body[len(body)-1] ^= 1; return body })
	}},
	{"kernel for rootfs, of the same size", trust.Digest, func(t *testing.T, h http.Handler, r storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { return r.Bytes["kernel"][:min(len(body), len(r.Bytes["kernel"]))] })
	}},
	{"a longer body, as it says", trust.Size, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { return append(body, 'x') })
	}},
	{"a shorter body, as it says", trust.Size, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { return body[:len(body)/2] })
	}},
	{"an endless body", trust.Digest, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
	}},
	{"an endless header", trust.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return raw(func(c net.Conn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := fmt.Fprintf(c, "X-More: %s\r\n", strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		})
	}},
	{"endless informational answers", trust.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return raw(func(c net.Conn) {
			for {
				if _, err := fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n", strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		})
	}},
	{"a trickle of bytes", trust.Slow, func(t *testing.T, _ http.Handler, r storetest.Release) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
				<-tick.C
			}
		})
	}},
	{"no answer", trust.Slow, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}},
	{"resets", trust.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return raw(func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) })
	}},
	{"500", trust.Unreachable, status(http.StatusInternalServerError)},
	{"404", trust.Unreachable, status(http.StatusNotFound)},
	{"503", trust.Busy, status(http.StatusServiceUnavailable)},
	{"204", trust.Unreachable, status(http.StatusNoContent)},
	{"a range not satisfiable", trust.Size, status(http.StatusRequestedRangeNotSatisfiable)},
	{"a redirect to an honest one", trust.Unreachable, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		to := serve(t, h)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
		})
	}},
	{"gzip that was not asked for", trust.Format, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			h.ServeHTTP(w, r)
		})
	}},
	{"truncated bodies", trust.Unreachable, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			for name, v := range rec.Header() {
				w.Header()[name] = v
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes()[:min(100, rec.Body.Len())])
			panic(http.ErrAbortHandler)
		})
	}},
	{"not HTTP at all", trust.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return raw(func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n\r\n") })
	}},
}

func status(code int) func(*testing.T, http.Handler, storetest.Release) http.Handler {
	return func(*testing.T, http.Handler, storetest.Release) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
}

// changed passes the honest answer's body through a change.
func changed(h http.Handler, change func([]byte) []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		body := change(rec.Body.Bytes())
		if v := rec.Header().Get("Content-Range"); v != "" {
			w.Header().Set("Content-Range", v)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	})
}

// raw answers a request by hand on the connection.
func raw(answer func(net.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		answer(c)
		c.Close()
	})
}

// sameSizes lets artifacts be swapped without the size giving it away.
var sameSizes = map[string]int{"kernel": 200_000, "initramfs": 200_000, "rootfs": 200_000}

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

func TestReleaseHostileAlone(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, sameSizes)
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, c.make(t, honest(t, signer, r), r))
			report, err := Release(t.Context(), r.Verified, []string{url}, newMemory(), impatient)
			if trust.CodeOf(err) != c.code {
				t.Errorf("it ended with %v, want the code %q", err, c.code)
			}
			if d := report.Providers[0].Dropped; d == nil || d.Code != c.code {
				t.Errorf("the provider was dropped for %v, want the code %q", d, c.code)
			}
		})
	}
}

// One honest provider is enough, whoever else is asked first.
func TestReleaseHostileBesideHonest(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, sameSizes)
	var all []string
	for _, c := range hostile {
		url := serve(t, c.make(t, honest(t, signer, r), r))
		all = append(all, url)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dst := newMemory()
			if _, err := Release(t.Context(), r.Verified, []string{url, serve(t, honest(t, signer, r))}, dst, impatient); err != nil {
				t.Fatal(err)
			}
			dst.check(t, r)
		})
	}
	t.Run("all of them", func(t *testing.T) {
		dst := newMemory()
		if _, err := Release(t.Context(), r.Verified, append(all, serve(t, honest(t, signer, r))), dst, impatient); err != nil {
			t.Fatal(err)
		}
		dst.check(t, r)
	})
}

// A provider that lies only in some part of what it sends is still found out,
// and the honest one finishes.
func TestReleaseLiarAmongMany(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, map[string]int{"kernel": 100, "initramfs": 100, "rootfs": 8 << 20})
	liar := changed(honest(t, signer, r), func(b []byte) []byte {
		if len(b) > 1000 {
			b[len(b)/2] ^= 1
		}
		return b
	})
	urls := []string{serve(t, liar), serve(t, liar), serve(t, honest(t, signer, r)), serve(t, liar)}
	dst := newMemory()
	report, err := Release(t.Context(), r.Verified, urls, dst, Options{})
	if err != nil {
		t.Fatal(err)
	}
	dst.check(t, r)
	if d := report.Providers[2].Dropped; d != nil {
		t.Errorf("the honest provider was blamed: %v", d)
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
	if trust.CodeOf(err) != trust.Unreachable {
		t.Fatalf("alone, it ended with %v", err)
	}
	got := dst.regions["rootfs"].kept
	if got == 0 || got != report.Bytes-200 {
		t.Fatalf("%d bytes are kept of %d received", got, report.Bytes)
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
			if req.URL.Path == "/mirror/stable/x86_64/"+release.FileName(name) {
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
	if _, err := Release(t.Context(), trust.Verified{}, nil, newMemory(), Options{}); trust.CodeOf(err) != trust.Signature {
		t.Errorf("fetching what nobody verified: %v", err)
	}
	if _, err := Release(t.Context(), r.Verified, nil, newMemory(), Options{}); trust.CodeOf(err) != trust.Unreachable {
		t.Errorf("fetching from nobody: %v", err)
	}
	if _, err := Release(t.Context(), r.Verified, []string{"ftp://x", "http://", "::"}, newMemory(), Options{}); trust.CodeOf(err) != trust.Unreachable {
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
	if !errors.Is(err, syscall.ENOSPC) || trust.CodeOf(err) != "" {
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
