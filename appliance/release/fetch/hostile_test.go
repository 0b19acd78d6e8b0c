package fetch

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"phase/appliance/base/refusal"
	"phase/tests/storetest"
)

// impatient keeps tests of slow providers short, and is no shorter than a busy
// machine may keep one waiting that is not slow.
var impatient = Options{patience: 2 * time.Second, pause: time.Millisecond}

// hostile are providers that must not stop a fetch, and, alone, are refused for
// what they do. Each is made around an honest one.
var hostile = []struct {
	name string
	code refusal.Code
	make func(t *testing.T, honest http.Handler, r storetest.Release) http.Handler
}{
	{"other bytes", refusal.Digest, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { body[len(body)-1] ^= 1; return body })
	}},
	{"kernel for rootfs, of the same size", refusal.Digest, func(t *testing.T, h http.Handler, r storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { return r.Bytes["kernel"][:min(len(body), len(r.Bytes["kernel"]))] })
	}},
	{"a longer body, as it says", refusal.Size, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { return append(body, 'x') })
	}},
	{"a shorter body, as it says", refusal.Size, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return changed(h, func(body []byte) []byte { return body[:len(body)/2] })
	}},
	{"an endless body", refusal.Digest, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
	}},
	{"an endless header", refusal.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return raw(func(c net.Conn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := fmt.Fprintf(c, "X-More: %s\r\n", strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		})
	}},
	{"endless informational answers", refusal.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return raw(func(c net.Conn) {
			for {
				if _, err := fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n", strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		})
	}},
	{"a trickle of bytes", refusal.Slow, func(t *testing.T, _ http.Handler, r storetest.Release) http.Handler {
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
	{"no answer", refusal.Slow, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}},
	{"resets", refusal.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
		return raw(func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) })
	}},
	{"500", refusal.Unreachable, status(http.StatusInternalServerError)},
	{"404", refusal.Unreachable, status(http.StatusNotFound)},
	{"503", refusal.Busy, status(http.StatusServiceUnavailable)},
	{"204", refusal.Unreachable, status(http.StatusNoContent)},
	{"a range not satisfiable", refusal.Size, status(http.StatusRequestedRangeNotSatisfiable)},
	{"a redirect to an honest one", refusal.Unreachable, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		to := serve(t, h)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
		})
	}},
	{"gzip that was not asked for", refusal.Format, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			h.ServeHTTP(w, r)
		})
	}},
	{"truncated bodies", refusal.Unreachable, func(t *testing.T, h http.Handler, _ storetest.Release) http.Handler {
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
	{"not HTTP at all", refusal.Unreachable, func(t *testing.T, _ http.Handler, _ storetest.Release) http.Handler {
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

func TestReleaseHostileAlone(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, sameSizes)
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, c.make(t, honest(t, signer, r), r))
			report, err := Release(t.Context(), r.Verified, []string{url}, newMemory(), impatient)
			if refusal.CodeOf(err) != c.code {
				t.Errorf("it ended with %v, want the code %q", err, c.code)
			}
			if d := report.Providers[0].Dropped; d == nil || d.Code != c.code {
				t.Errorf("the provider was dropped for %v, want the code %q", d, c.code)
			}
		})
	}
}

// Who gives no answer in time is asked once: a second wait would take as long
// again.
func TestReleaseSilentProviderIsAskedOnce(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, sameSizes)
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	// Counted where it is asked: on a busy machine the provider may not have
	// been woken when the wait is over.
	var asked atomic.Int64
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { asked.Add(1) }})
	client := NewClient()
	// The client's own wait ends before the fetch's patience does.
	client.Transport.(*http.Transport).ResponseHeaderTimeout = 50 * time.Millisecond
	_, err := Release(ctx, r.Verified, []string{url}, newMemory(), Options{client: client, pause: time.Millisecond})
	if refusal.CodeOf(err) != refusal.Slow || asked.Load() != 1 {
		t.Errorf("it ended with %v after %d requests", err, asked.Load())
	}
}

// One honest provider is enough, also when hostile ones are asked first.
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
