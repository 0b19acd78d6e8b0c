package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/network/dht"
	"phase/appliance/network/peer"
	"phase/appliance/release/record"
	"phase/tests/await"
	"phase/tests/netlab"
)

// table is a node that has nothing but a host and its part of the DHT, so that
// what is found is found there. The test asks it by HTTP over a socket.
type table struct {
	*netlab.Process
	peer    string
	address string      // for the bootstrap lists of others
	asks    bool        // it is a client of the DHT
	control http.Client // for the test
	dead    atomic.Bool // it was killed: what it was asked then does not count
}

// tableArgs are what a table is started with.
type tableArgs struct {
	Seed      string // 32 bytes, of which its identity is made
	IP        string
	Bootstrap []string
	Client    bool   // it asks and serves nobody
	Control   string // the socket by which the test asks it
}

// found is what a search came to. The time is of the node's own clock, so that
// what the test takes to ask is not in it.
type found struct {
	First   time.Duration // to the first value
	Best    time.Duration // to the end of the grace in which a better one may come, or to a connection with the provider
	Version uint64
	Peer    string
	Problem string
}

// state is what a table says of itself.
type state struct {
	Connected int
	dht.Stats
}

func tableRole(ctx context.Context, args []byte, _ func(any)) error {
	var a tableArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	id, err := identity.Ephemeral(strings.NewReader(a.Seed))
	if err != nil {
		return err
	}
	n, err := peer.Open(peer.Config{Identity: id, Listen: listenAt(a.IP), Bootstrap: a.Bootstrap})
	if err != nil {
		return err
	}
	defer n.Close()
	d, err := dht.Open(dht.Config{Host: n.Host(), Client: a.Client})
	if err != nil {
		return err
	}
	defer d.Close()
	listener, err := net.Listen("unix", a.Control)
	if err != nil {
		return err
	}
	server := http.Server{Handler: tableControl(n, d)}
	defer server.Close()
	var work sync.WaitGroup
	work.Go(func() { _ = server.Serve(listener) })
	work.Go(func() { n.Run(ctx) })
	d.Run(ctx)
	_ = server.Close()
	work.Wait()
	return nil
}

func tableControl(n *peer.Node, d *dht.DHT) http.Handler {
	answer := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, state{len(n.Host().Network().Peers()), d.Stats()})
	})
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		var list []record.Record
		_ = r.ParseForm()
		for i, text := range r.PostForm["key"] {
			key, err := record.ParseKey(text)
			if err == nil {
				var rec record.Record
				if rec, err = record.Parse(key, []byte(r.PostForm["value"][i]), time.Now()); err == nil {
					list = append(list, rec)
				}
			}
			if err != nil {
				answer(w, err.Error())
				return
			}
		}
		d.Publish(list...)
		answer(w, "")
	})
	mux.HandleFunc("POST /provide", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		var list []names.Digest
		for _, name := range r.PostForm["bucket"] {
			list = append(list, dht.Bucket(name))
		}
		d.Provide("test", list...)
		answer(w, "")
	})
	mux.HandleFunc("GET /search", func(w http.ResponseWriter, r *http.Request) {
		answer(w, searchRecord(r.Context(), d, r.FormValue("key")))
	})
	mux.HandleFunc("GET /providers", func(w http.ResponseWriter, r *http.Request) {
		answer(w, searchProvider(r.Context(), d, r.FormValue("bucket")))
	})
	return mux
}

// lookTime bounds one search of the test.
const lookTime = 10 * time.Second

func searchRecord(ctx context.Context, d *dht.DHT, text string) (f found) {
	key, err := record.ParseKey(text)
	if err != nil {
		return found{Problem: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	began := time.Now()
	first := make(chan time.Duration, 1)
	go func() {
		defer close(first)
		for range d.Search(ctx, key) {
			first <- time.Since(began)
			return
		}
	}()
	best, err := d.Best(ctx, key)
	if err != nil {
		return found{Problem: err.Error()}
	}
	f.Best, f.Version = time.Since(began), best.Version()
	f.First = <-first
	return f
}

func searchProvider(ctx context.Context, d *dht.DHT, bucket string) (f found) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	began := time.Now()
	err := errors.New("nobody provides it")
	for p := range d.Providers(ctx, dht.Bucket(bucket)) {
		if f.First == 0 {
			f.First, f.Peer = time.Since(began), p.ID.String()
		}
		if err = d.Reach(ctx, p); err == nil {
			f.Best, f.Peer = time.Since(began), p.ID.String()
			return f
		}
	}
	return found{Problem: err.Error()}
}

// listenAt are the addresses of a node that is on the internet.
func listenAt(ip string) []string {
	return []string{"/ip4/" + ip + "/udp/7420/quic-v1", "/ip4/" + ip + "/tcp/7420"}
}

// newTable starts a table in a new machine; it does not wait for it.
func newTable(t testing.TB, on *internet, name string, client bool, bootstrap ...string) *table {
	t.Helper()
	m, ip := on.machine(t, name)
	seed := fmt.Sprintf("%-32s", name)
	id, err := identity.Ephemeral(strings.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "table") // of the test's name a socket's path would be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	control := filepath.Join(dir, "s")
	n := &table{asks: client, peer: id.PeerID(), address: "/ip4/" + ip + "/udp/7420/quic-v1/p2p/" + id.PeerID()}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", control)
	}}
	n.control.Transport = transport
	t.Cleanup(transport.CloseIdleConnections)
	n.Process = m.Again(t, "table", tableArgs{seed, ip, bootstrap, client, control})
	return n
}

// ask asks the table; a form is posted.
func (n *table) ask(path string, form url.Values, v any) error {
	var answer *http.Response
	var err error
	if form == nil {
		answer, err = n.control.Get("http://table" + path)
	} else {
		answer, err = n.control.PostForm("http://table"+path, form)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(v)
}

// order has the table do something that it only confirms.
func (n *table) order(t testing.TB, path string, form url.Values) {
	t.Helper()
	problem := ""
	if err := n.ask(path, form, &problem); err != nil || problem != "" {
		t.Fatalf("%s: %s: %s, %v", n.Name, path, problem, err)
	}
}

// until waits for the table to be in a state.
func (n *table) until(t testing.TB, what string, ok func(state) bool) {
	t.Helper()
	var last state
	if err := await.Until(t.Context(), func() bool { return n.ask("/state", nil, &last) == nil && ok(last) }); err != nil {
		t.Fatalf("%s: waiting for %s: %v; it is %+v\n%s", n.Name, what, err, last, strings.Join(n.Lines(), "\n"))
	}
}

func (n *table) search(key record.Key) (f found) {
	if err := n.ask("/search?"+url.Values{"key": {key.String()}}.Encode(), nil, &f); err != nil {
		f.Problem = err.Error()
	}
	return f
}

func (n *table) providers(bucket string) (f found) {
	if err := n.ask("/providers?"+url.Values{"bucket": {bucket}}.Encode(), nil, &f); err != nil {
		f.Problem = err.Error()
	}
	return f
}
