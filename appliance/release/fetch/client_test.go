package fetch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/tests/storetest"
)

func TestParseBase(t *testing.T) {
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{"http://192.0.2.1:8080", true},
		{"https://mirror.example/phase/", true},
		{"http://[fe80::1%25eth0]:8080", true},
		{"http://[2001:db8::1]", true},
		{"", false},
		{"192.0.2.1:8080", false},
		{"ftp://192.0.2.1", false},
		{"http://", false},
		{"http://:8080", false},
		{"http://user:secret@192.0.2.1", false},
		{"http://192.0.2.1/?x=1", false},
		{"http://192.0.2.1/#x", false},
		{"http://192.0.2.1:80800x", false},
	} {
		if _, err := ParseBase(c.text); (err == nil) != c.ok {
			t.Errorf("ParseBase(%q): %v", c.text, err)
		}
	}
}

func TestManifest(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	url := serve(t, honest(t, signer, r))
	data, err := Manifest(t.Context(), NewClient(), url+"/", "stable", "x86_64")
	if err != nil || !bytes.Equal(data, r.Envelope()) {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
	if _, err := Manifest(t.Context(), NewClient(), url, "stable", "arm64"); refusal.CodeOf(err) != refusal.Unreachable {
		t.Errorf("what the provider does not have: %v", err)
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name string
		code refusal.Code
		h    http.HandlerFunc
	}{
		{"endless", refusal.Size, endless},
		{"1 GiB, as it says", refusal.Size, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<30))
			endless(w, r)
		}},
		{"redirect", refusal.Unreachable, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url+r.URL.Path, http.StatusFound) }},
		{"500", refusal.Unreachable, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
		{"429", refusal.Busy, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }},
		{"truncated", refusal.Unreachable, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{")
			panic(http.ErrAbortHandler)
		}},
		{"gzip", refusal.Format, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") }},
		{"endless header", refusal.Unreachable, raw(func(c net.Conn) {
			for {
				if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX: %s\r\n", strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}).ServeHTTP},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, err := Manifest(t.Context(), NewClient(), serve(t, c.h), "stable", "x86_64")
			if refusal.CodeOf(err) != c.code {
				t.Errorf("got %d bytes, %v, want the code %q", len(data), err, c.code)
			}
		})
	}
	t.Run("exactly the cap", func(t *testing.T) {
		data, err := Manifest(t.Context(), NewClient(), serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, envelope.MaxBytes))
		})), "stable", "x86_64")
		if err != nil || len(data) != envelope.MaxBytes {
			t.Errorf("got %d bytes, %v", len(data), err)
		}
	})
	t.Run("too slow for the caller", func(t *testing.T) {
		stall := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		slow := refusal.New(refusal.Slow, "too slow")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, slow)
		defer cancel()
		if _, err := Manifest(ctx, NewClient(), stall, "stable", "x86_64"); refusal.CodeOf(err) != refusal.Slow {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Run("too slow for the client", func(t *testing.T) {
		stall := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		client := NewClient()
		client.Transport.(*http.Transport).ResponseHeaderTimeout = 50 * time.Millisecond
		if _, err := Manifest(t.Context(), client, stall, "stable", "x86_64"); refusal.CodeOf(err) != refusal.Slow {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if _, err := Manifest(t.Context(), NewClient(), "http://"+l.Addr().String(), "stable", "x86_64"); refusal.CodeOf(err) != refusal.Unreachable {
			t.Errorf("it ended with %v", err)
		}
	})
}

// TestLargeManifests: large answers that never end take what room there is from
// one another, and none from a manifest as they are.
func TestLargeManifests(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	url := serve(t, honest(t, signer, r))
	stalled := make(chan struct{}, 100)
	stalls := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte(" "), 2*usualDocument))
		http.NewResponseController(w).Flush()
		stalled <- struct{}{}
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 4 * largeAtOnce {
		wait.Go(func() {
			if data, err := Manifest(ctx, NewClient(), stalls, "stable", "x86_64"); err == nil {
				t.Errorf("%d bytes without an end", len(data))
			}
		})
	}
	for range 4 * largeAtOnce {
		<-stalled
	}
	if data, err := Manifest(t.Context(), NewClient(), url, "stable", "x86_64"); err != nil || !bytes.Equal(data, r.Envelope()) {
		t.Errorf("beside them got %d bytes, %v", len(data), err)
	}
	cancel()
	wait.Wait()
	// One that is large and ends is read whole.
	whole := bytes.Repeat([]byte("x"), envelope.MaxBytes)
	if data, err := Manifest(t.Context(), NewClient(), serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(whole)
	})), "stable", "x86_64"); err != nil || !bytes.Equal(data, whole) {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
}

func TestContentRange(t *testing.T) {
	for _, c := range []struct {
		text               string
		first, last, total int64
		ok                 bool
	}{
		{"bytes 0-4/10", 0, 4, 10, true},
		{"bytes 5-9/10", 5, 9, 10, true},
		{"Bytes 0-0/*", 0, 0, -1, true},
		{"", 0, 0, 0, false},
		{"bytes */10", 0, 0, 0, false},
		{"bytes 4-0/10", 0, 0, 0, false},
		{"bytes 0-10/10", 0, 0, 0, false},
		{"bytes -1-4/10", 0, 0, 0, false},
		{"bytes +0-4/10", 0, 0, 0, false},
		{"bytes 0-4", 0, 0, 0, false},
		{"bytes 0-99999999999999999999/*", 0, 0, 0, false},
		{"pages 0-4/10", 0, 0, 0, false},
	} {
		first, last, total, ok := contentRange(c.text)
		if ok != c.ok || ok && (first != c.first || last != c.last || total != c.total) {
			t.Errorf("contentRange(%q) = %d, %d, %d, %v", c.text, first, last, total, ok)
		}
	}
}

// What is read as a Content-Range never says more, or something else, than a
// range within its total.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-4/10", "bytes 0-0/*", "bytes */10", "bytes 9-1/2", "bytes 0-4/10/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, last, total, ok := contentRange(text)
		if ok && (first < 0 || first > last || total != -1 && last >= total) {
			t.Errorf("contentRange(%q) = %d, %d, %d", text, first, last, total)
		}
	})
}

func TestAnAddressWithoutItsScheme(t *testing.T) {
	for _, text := range []string{"192.0.2.1:8080", "localhost:8080", "mirror.example", "[::1]:8080"} {
		if _, err := ParseBase(text); err == nil || !strings.Contains(err.Error(), "begins with http://") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever an address of a provider looks like, what is asked is on that host,
// over http or https, and what it is told carries no name and no password.
func FuzzParseBase(f *testing.F) {
	for _, text := range []string{"http://[fe80::1%25eth0]:8080", "https://example.org/phase/", "http://a:b@c", "file:///etc/passwd", "http://h?x", "http://h/%2e%2e/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		base, err := ParseBase(text)
		if err != nil {
			return
		}
		u, err := url.Parse(base.JoinPath("stable", "x86_64", "manifest.json").String()) // as a request does
		if err != nil {
			return
		}
		if (u.Scheme != "http" && u.Scheme != "https") || u.Host != base.Host || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			!strings.HasSuffix(u.Path, "/stable/x86_64/manifest.json") {
			t.Errorf("%q leads to %q", text, u)
		}
	})
}
