package finder_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/finder"
	"phase/appliance/network/releases"
	"phase/appliance/release/fetch"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
	"phase/tests/peertest"
	"phase/tests/storetest"
)

// socket serves what a node finds, as plasmd does.
func socket(t *testing.T, c api.Config) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: api.Socket(c), ConnContext: api.Peer}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return path
}

func of(n peertest.Node) api.Config {
	return api.Config{Releases: func() *releases.Releases { return n.Releases }}
}

// get asks on the socket.
func get(t *testing.T, socket, method, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://plasmd"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// A program that knows nothing but the first root and a socket finds a release
// under the second, by a DHT that it is no part of, and fetches it from a peer
// that has no HTTP address.
func TestThroughTheDaemon(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	release := two.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	between := peertest.Start(t, peertest.Config{Roots: storetest.NewSigner(t).Chain})
	peertest.Start(t, peertest.Config{Roots: two.Chain, Held: []storetest.Release{release}, Known: []peertest.Node{between}})
	daemon := peertest.Start(t, peertest.Config{Roots: one.Chain, Known: []peertest.Node{between}})
	path := socket(t, of(daemon))

	known, client := walk.New(one.Root), fetch.NewClient(finder.Way(path))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := survey.Survey{
		Finders: []survey.Finder{finder.New(path, "stable", "x86_64")}, Channel: "stable", Arch: "x86_64",
		Get: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			return known.Manifest(ctx, client, url, channel, arch)
		},
		Check: func(_ context.Context, _, channel, arch string, envelope []byte) (trust.Verified, error) {
			return known.Last().Verify(envelope, trust.Policy{Channel: channel, Arch: arch, Now: time.Now()})
		},
	}
	var found survey.Answer
	if err := s.Run(ctx, func(a survey.Answer) {
		if found = a; a.Err == nil {
			cancel()
		}
	}); found.Err != nil || !found.Release.Valid() {
		t.Fatalf("%v; last answer %+v", err, found)
	}
	if known.Last().Version() != 2 {
		t.Errorf("root version %d is known", known.Last().Version())
	}
	into := memory{}
	_, err := fetch.Release(t.Context(), found.Release, []string{found.URL}, into, fetch.Options{Ways: []fetch.Way{finder.Way(path)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range release.Bytes {
		if !bytes.Equal(into[name].data, data) {
			t.Errorf("%s came as something else", name)
		}
	}
}

// The socket passes on what asks for a release and nothing else, and of the
// answer nothing but what a provider says of it.
func TestPassedOn(t *testing.T) {
	signer := storetest.NewSigner(t)
	release := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	holder := peertest.Start(t, peertest.Config{Roots: signer.Chain, Held: []storetest.Release{release}})
	daemon := peertest.Start(t, peertest.Config{Roots: signer.Chain, Known: []peertest.Node{holder}})
	path := socket(t, of(daemon))
	base := api.PeerPath(holder.ID())
	rootfs := release.Bytes["rootfs"]
	digest := release.Manifest().Artifacts["rootfs"].SHA256.Hex()

	resp, body := get(t, path, "GET", base+"/blobs/sha256/"+digest, "Range", "bytes=5-9", "Cookie", "secret")
	if resp.StatusCode != 206 || !bytes.Equal(body, rootfs[5:10]) || resp.Header.Get("Content-Range") == "" || resp.Header.Get("X-Artifact-Hash") != "sha256:"+digest {
		t.Errorf("a range: %d, %q, %v", resp.StatusCode, body, resp.Header)
	}
	resp, body = get(t, path, "HEAD", base+"/stable/x86_64/rootfs")
	if resp.StatusCode != 200 || len(body) != 0 || resp.ContentLength != int64(len(rootfs)) {
		t.Errorf("HEAD: %d, %d bytes of %d", resp.StatusCode, len(body), resp.ContentLength)
	}
	gone, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", base + "/root/1.json", 200, "payload"},
		{"GET", base + "/root/2.json", 404, "nothing is served"},
		{"GET", base + "/stable/x86_64/manifest.json", 200, "payload"},
		{"GET", base + "/stable/arm64/manifest.json", 404, "nothing is served"},
		{"POST", base + "/stable/x86_64/manifest.json", 405, "GET, HEAD"},
		{"GET", base + "/v1/node", 404, "no such route"},
		{"GET", base + "/status", 404, "no such route"},
		{"GET", base + "/v1/jobs/x", 400, "channel"},
		{"GET", base + "/stable/mips/kernel", 400, "arch"},
		{"GET", base + "/stable/x86_64/..%2F..%2Fstatus", 400, "neither"},
		{"GET", base + "/blobs/sha256/00", 400, "SHA-256"},
		{"GET", base + "/root/x.json", 400, "no root"},
		{"GET", base + "/root/1.json?x=1", 400, "query"},
		{"GET", "/v1/peers/me/http/root/1.json", 400, "peer id"},
		{"GET", api.PeerPath(gone.PeerID()) + "/root/1.json", 502, "unreachable"},
		{"GET", "/v1/releases?channel=beta", 400, "channel"},
		{"GET", "/v1/releases?fleet=0", 400, "known"},
	} {
		resp, body := get(t, path, c.method, c.path)
		if resp.StatusCode != c.status || !strings.Contains(string(body), c.says) {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, body)
		}
	}
	// The holder of the token is not led to the network of others.
	handler, err := api.Handler(of(daemon), strings.Repeat("t", 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"/v1/releases", base + "/root/1.json"} {
		r, _ := http.NewRequest("GET", at, nil)
		r.Header.Set("Authorization", "Bearer "+strings.Repeat("t", 32))
		w := &recorder{header: http.Header{}}
		if handler.ServeHTTP(w, r); w.status != 404 {
			t.Errorf("%s over HTTP: %d", at, w.status)
		}
	}
}

// A daemon without a part in the network says so, one whose host is not up yet
// asks for patience, and a finder is told of neither as an end.
func TestNotYet(t *testing.T) {
	path := socket(t, api.Config{})
	if resp, body := get(t, path, "GET", "/v1/releases"); resp.StatusCode != 404 || !strings.Contains(string(body), "--network off") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	path = socket(t, api.Config{Releases: func() *releases.Releases { return nil }})
	if resp, body := get(t, path, "GET", "/v1/releases"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	signer := storetest.NewSigner(t)
	holder := peertest.Start(t, peertest.Config{Roots: signer.Chain, Held: []storetest.Release{signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)}})
	daemon := peertest.Start(t, peertest.Config{Roots: signer.Chain, Known: []peertest.Node{holder}})
	asked := 0
	path = socket(t, api.Config{Releases: func() *releases.Releases {
		if asked++; asked == 1 {
			return nil
		}
		return daemon.Releases
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found, err := finder.New(path, "", "").Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	a := <-found
	if want := releases.StreamURL(holder.ID()); a.Version != 7 || a.Peer != holder.ID() || len(a.URLs) != 1 || a.URLs[0] != want {
		t.Errorf("found %+v", a)
	}
	cancel()
	for range found { // it ends
	}
}

// recorder is a ResponseWriter that keeps the status.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }
