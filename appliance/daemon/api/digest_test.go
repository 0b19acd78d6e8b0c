package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/problem"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// keeping is the interface of a node that keeps modules; it counts the bytes of
// the bodies that it reads, and takes the header Requester for who asks.
func keeping(t *testing.T) (*httptest.Server, Config, identity.Identity, *atomic.Int64) {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := scheduler.OpenPool(modulecache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c, _ := node(t)
	runner := scheduler.NewRunner(id)
	runner.Pool = pool
	c.Runs = scheduler.New(runner, c.History, limits, time.Now)
	var read atomic.Int64
	next := c.mux()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		atOnce(w, r)
		r.Body = counted{r.Body, &read}
		next.ServeHTTP(w, as(r, r.Header.Get("Authorization")))
	}))
	t.Cleanup(s.Close)
	return s, c, id, &read
}

type counted struct {
	io.ReadCloser
	read *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// typed is an input that is there piece by piece, and not before the job is
// admitted.
type typed struct {
	io.Reader
	t    *testing.T
	runs func() int
	want int
}

func (in typed) Read(p []byte) (int, error) {
	if got := in.runs(); got != in.want {
		in.t.Errorf("input was read while %d jobs had been admitted, want %d", got, in.want)
	}
	return in.Reader.Read(p)
}

func (typed) Sum() [sha256.Size]byte { return sha256.Sum256([]byte("typed")) }

// A module is sent once; from then on a job uploads nothing of it, whether its
// input is there or still being typed.
func TestAWarmJobUploadsNothing(t *testing.T) {
	module := catModule(t)
	s, c, id, read := keeping(t)
	pin := receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}
	runs := func() int {
		list, _, err := c.History.List("", 100)
		if err != nil {
			t.Error(err)
		}
		return len(list)
	}
	for n, cold := range []bool{true, false, false, true, false} {
		who := NewNodeClient(s.URL, []string{"me", "me", "me", "you", "you"}[n])
		wanted := job.Default(module)
		o := scheduler.Offer{Module: modulecache.NewModule(module), Nonce: scheduler.NewNonce()}
		if n == 1 {
			o.Stdin = []byte("typed")
			wanted.StdinHash = job.Hash(o.Stdin)
		} else {
			o.Input = typed{strings.NewReader("typed"), t, runs, n + 1}
		}
		var err error
		if o.Spec, err = job.New(wanted); err != nil {
			t.Fatal(err)
		}
		read.Store(0)
		done, err := who.Execute(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := done.Verify(o, pin); err != nil || string(done.Stdout) != "typed" {
			t.Errorf("%d: %q, %v", n, done.Stdout, err)
		}
		if got := read.Load(); cold != (got >= int64(len(module))) || !cold && got > 2<<10 {
			t.Errorf("%d: %d bytes were sent, the module has %d", n, got, len(module))
		}
	}
	if runs() != 5 {
		t.Errorf("%d jobs ran, want 5", runs())
	}
}

// byDigest is a job file that names a module.
func byDigest(t *testing.T, hash string) part {
	t.Helper()
	wanted := job.Default(nil)
	wanted.ModuleHash = hash
	spec, err := job.New(wanted)
	if err != nil {
		t.Fatal(err)
	}
	return part{"job", spec.File()}
}

// A job by digest is answered ModuleNeeded where its requester has not sent the
// module, in the same words whether or not another has, and can then be sent
// with it: nothing has run, and its nonce is good.
func TestModuleNeeded(t *testing.T) {
	s, c, _, _ := keeping(t)
	d := describe(t)
	send := func(requester, accept string, parts ...part) (int, []byte) {
		t.Helper()
		kind, body := form(t, parts...)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", requester)
		r.Header.Set("Accept", accept)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Content-Type") == problem.ContentType {
			if err := d.answers("POST /v1/jobs", resp.Status[:3], problem.ContentType, text); err != nil {
				t.Error(err)
			}
		}
		return resp.StatusCode, text
	}
	needed := func(requester, accept string, parts ...part) string {
		t.Helper()
		status, text := send(requester, accept, parts...)
		var p problem.Document
		if err := json.Unmarshal(text, &p); err != nil || status != 422 || p.Code != "ModuleNeeded" || p.Status != 422 {
			t.Errorf("%s: %d %s, want ModuleNeeded", requester, status, text)
		}
		return string(text)
	}
	here, stdin := byDigest(t, job.Hash(empty)), part{"stdin", []byte("in")}
	for _, accept := range []string{"application/json", streamType} {
		me := "me, " + accept
		nonce := part{"offer_nonce", []byte(scheduler.NewNonce())}
		unknown := needed(me, accept, here, nonce)
		if status, text := send(me, accept, here, nonce, part{"module", empty}, stdin); status != 200 {
			t.Fatalf("with the module: %d %s", status, text)
		}
		for range 2 {
			if status, text := send(me, accept, here, stdin); status != 200 {
				t.Errorf("by its digest: %d %s", status, text)
			}
		}
		if other := needed("another, "+accept, accept, here, stdin); other != unknown {
			t.Errorf("it is told that somebody has the module: %s, and of one that nobody has: %s", other, unknown)
		}
		if status, text := send(me, accept, here, nonce); status != 422 || !strings.Contains(string(text), "already") {
			t.Errorf("the same offer again: %d %s", status, text)
		}
	}
	// A module that is no good is never held.
	bad := append(bytes.Clone(empty), 0xff)
	_, _ = send("me", "application/json", part{"module", bad})
	needed("me", "application/json", byDigest(t, job.Hash(bad)))

	list, _, err := c.History.List("", 100)
	if err != nil || len(list) != 7 {
		t.Errorf("%d jobs ran, want 7; %v", len(list), err)
	}
	digests := string(here.data)
	for _, wrong := range []string{"", "sha256:", "sha512:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("0", 65), "../" + strings.Repeat("0", 64)} {
		file := strings.Replace(digests, job.Hash(empty), wrong, 1)
		if status, text := send("me", streamType, part{"job", []byte(file)}, stdin); status != 400 || !strings.Contains(string(text), "module_hash") {
			t.Errorf("the digest %q: %d %s", wrong, status, text)
		}
	}
}

// A client that has no module to send has the refusal for an answer.
func TestNothingToSend(t *testing.T) {
	s, _, _, _ := keeping(t)
	spec, err := job.Parse(byDigest(t, job.Hash(empty)).data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewNodeClient(s.URL, "me").Execute(t.Context(), scheduler.Offer{Spec: spec, Nonce: scheduler.NewNonce()})
	var refused *Refused
	if !errors.As(err, &refused) || refused.Code != "ModuleNeeded" {
		t.Errorf("%v", err)
	}
}
