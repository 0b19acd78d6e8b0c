package remotetrials

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/tests/storetest"
)

func TestSay(t *testing.T) {
	held, other := names.Sum([]byte("held")), names.Sum([]byte("other"))
	var counter Counter
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counter.Answer(w, r, func(d names.Digest) bool { return d == held })
	}))
	defer server.Close()
	for i, c := range []struct {
		state state
		want  int
	}{{asked, 0}, {begun, 1}, {asked, 1}, {begun, 2}, {asked, 2}, {good, 0}, {asked, 0}, {begun, 1}} {
		got, err := client(server).say(t.Context(), server.URL, held, c.state)
		if err != nil || got != c.want {
			t.Errorf("%d: after %q it counts %d, %v; want %d", i, c.state, got, err, c.want)
		}
	}
	if n, err := client(server).say(t.Context(), server.URL, other, begun); err == nil {
		t.Errorf("a release that is not held is counted: %d", n)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if n, err := client(plain).say(t.Context(), plain.URL, held, asked); err == nil {
		t.Errorf("a server that does not count counts %d", n)
	}
}

// TestNames: two machines behind one address are two, one machine is the same each
// time, and its names for two releases have nothing in common.
func TestNames(t *testing.T) {
	release, other := names.Sum([]byte("release")), names.Sum([]byte("other"))
	a, b := Name([]byte("a"), release), Name([]byte("b"), release)
	if a == b || a == Name([]byte("a"), other) || a != Name([]byte("a"), release) || len(a) != nameBytes {
		t.Errorf("%s, %s", a, b)
	}
	var counter Counter
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counter.Answer(w, r, func(names.Digest) bool { return true })
	}))
	defer server.Close()
	for machine, want := range map[string]int{"a": 3, "b": 1} {
		c := client(server)
		c.Machine = []byte(machine)
		for range want {
			if _, err := c.say(t.Context(), server.URL, release, begun); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := c.say(t.Context(), server.URL, release, asked); err != nil || n != want {
			t.Errorf("machine %s: %d, %v", machine, n, err)
		}
	}
}

func client(server *httptest.Server) *Client {
	return &Client{HTTP: server.Client(), Manifest: "/stable/x86_64/manifest.json", Needed: func() bool { return true }}
}

// TestClient: a machine that forgets is kept from a release that died under it,
// by the one provider that counted, until it has been up for long or the release
// came up.
func TestClient(t *testing.T) {
	v := storetest.NewSigner(t).Release(t, "stable", "x86_64", 7, storetest.Sizes).Verified
	var counter Counter
	counted := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		counter.Answer(w, r, func(d names.Digest) bool { return d == v.Digest() })
		counted <- r.Header.Get(trialHeader)
	}))
	defer server.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	up := time.Duration(0)
	c := client(server)
	c.Up = func() time.Duration { return up }
	for _, want := range []refusal.Code{"", "", refusal.FailedBefore} {
		if err := c.Tried(t.Context(), server.URL, v); refusal.CodeOf(err) != want {
			t.Errorf("%v, want the code %q", err, want)
		}
		if err := c.Tried(t.Context(), other.URL, v); err != nil {
			t.Errorf("one that does not count refuses: %v", err)
		}
		c.Begin(t.Context(), v.Digest())
	}
	up = 24 * time.Hour
	if err := c.Tried(t.Context(), server.URL, v); err != nil {
		t.Errorf("up for long: %v", err)
	}
	// The release itself says that it came up, once.
	c = client(server)
	c.Health, c.Trial = server.URL+"/health", v.Digest().String()
	c.Good(t.Context(), server.URL)
	c.Good(t.Context(), server.URL)
	for said := range counted {
		if strings.HasPrefix(said, v.Digest().String()+"; good; ") {
			break
		}
	}
	c.Up = func() time.Duration { return 0 }
	if err := c.Tried(t.Context(), server.URL, v); err != nil {
		t.Errorf("after it came up: %v", err)
	}
	// One that remembers by itself, or is private, says nothing.
	for len(counted) > 0 {
		<-counted
	}
	c.Needed = func() bool { return false }
	c.Begin(t.Context(), v.Digest())
	c.Good(t.Context(), server.URL+"/")
	if err := c.Tried(t.Context(), server.URL, v); err != nil || len(counted) != 0 {
		t.Errorf("it said %d times how it goes, %v", len(counted), err)
	}
}

// However many machines there are, the counts have an end, and the latest are in it.
func TestCounterIsBounded(t *testing.T) {
	var c Counter
	d := names.Sum(nil)
	for i := range 3 * maxCounts {
		c.note(count{fmt.Sprint(i), d}, begun)
	}
	if len(c.tries) != maxCounts || len(c.order) != maxCounts {
		t.Errorf("%d machines are remembered, %d in order", len(c.tries), len(c.order))
	}
	if n := c.note(count{fmt.Sprint(3*maxCounts - 1), d}, asked); n != 1 {
		t.Errorf("the latest was forgotten: %d", n)
	}
	if n := c.note(count{"0", d}, asked); n != 0 || len(c.tries) != maxCounts {
		t.Errorf("asking is remembered: %d", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(names.Sum(nil).String() + "; begun; " + Name(nil, names.Sum(nil)))
	f.Add("sha256:; good; 00")
	f.Fuzz(func(t *testing.T, text string) {
		d, state, name, err := parse(text)
		if err == nil && text != d.String()+"; "+string(state)+"; "+name {
			t.Errorf("%q was read as %s; %s", text, d, state)
		}
	})
}
