package discover

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/network/lan"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
	"phase/tests/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m, nil) }

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writeRoot makes a root that trusts key for releases.
func writeRoot(t *testing.T, key ed25519.PrivateKey) string {
	t.Helper()
	rootKey := newKey(t)
	one := func(k ed25519.PrivateKey) trust.RoleSpec {
		return trust.RoleSpec{Keys: []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}, Threshold: 1}
	}
	data, err := trust.SignRoot(trust.RootSpec{Version: 1, Expires: time.Now().Add(time.Hour),
		Roles: map[string]trust.RoleSpec{trust.RoleRoot: one(rootKey), trust.RoleRelease: one(key)}}, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func signed(t *testing.T, key ed25519.PrivateKey, version uint64) []byte {
	t.Helper()
	artifact := manifest.Artifact{Size: 1, SHA256: names.Sum([]byte{0})}
	payload, err := manifest.Manifest{Version: version, Name: "test", Channel: "stable", Arch: "x86_64",
		Created: time.Now().Add(-time.Minute), Expires: time.Now().Add(time.Hour), Cmdline: "quiet",
		Artifacts: map[string]manifest.Artifact{"kernel": artifact, "initramfs": artifact, "rootfs": artifact}}.Payload()
	if err != nil {
		t.Fatal(err)
	}
	data, err := envelope.Sign(manifest.PayloadType, payload, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// serveNode announces a release under a name and answers with handler.
func serveNode(t *testing.T, name string, version uint64, handler http.Handler) {
	t.Helper()
	listener, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	_, err = lan.Announce(t.Context(), lan.Config{Name: name, Peer: "12D3KooW" + name,
		Port:      uint16(listener.Addr().(*net.TCPAddr).Port),
		Instances: []lan.Instance{{Channel: "stable", Arch: "x86_64", Version: version}}})
	if err != nil {
		t.Fatal(err)
	}
}

func give(data []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stable/x86_64/manifest.json" {
			http.NotFound(w, r)
			return
		}
		w.Write(data)
	})
}

func TestListsVerifiedNewestFirst(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	key, stranger := newKey(t), newKey(t)
	root := writeRoot(t, key)
	serveNode(t, "phase-00000001", 42, give(signed(t, key, 42)))
	serveNode(t, "phase-00000002", 43, give(signed(t, key, 43)))
	serveNode(t, "phase-0bad0001", 1000, give(signed(t, stranger, 1000)))
	serveNode(t, "phase-0bad0002", 1001, give([]byte("{}")))
	// The announcement lies about the version: what is signed counts.
	serveNode(t, "phase-0bad0003", 2000, give(signed(t, key, 41)))
	silent := make(chan struct{})
	defer close(silent)
	serveNode(t, "phase-0bad0004", 3000, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))

	var stdout, stderr bytes.Buffer
	if err := Run(t.Context(), []string{"--root", root, "--json", "--timeout", "5s"}, nil, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var nodes []Node
	if err := json.Unmarshal(stdout.Bytes(), &nodes); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range nodes {
		got = append(got, fmt.Sprintf("%d %s", n.Version, n.Name))
	}
	want := []string{"43 phase-00000002", "42 phase-00000001", "41 phase-0bad0003"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("listed %q, want %q", got, want)
	}
	if n := nodes[0]; n.Peer != "12D3KooWphase-00000002" || n.Interface != "lo" || !strings.HasPrefix(n.Digest, "sha256:") || !strings.HasPrefix(n.URL, "http://") {
		t.Errorf("first is %+v", n)
	}
}

func TestNobody(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	root := writeRoot(t, newKey(t))
	serveNode(t, "phase-0bad0001", 1000, give(signed(t, newKey(t), 1000)))
	for _, args := range [][]string{{"--json"}, {}} {
		var stdout, stderr bytes.Buffer
		err := Run(t.Context(), append(args, "--root", root, "--timeout", "1s"), nil, &stdout, &stderr)
		if code, _ := program.Code(err); code != 1 || strings.TrimSpace(stdout.String()) != "[]" {
			t.Errorf("%v: %q, %v; want [] and exit code 1", args, stdout.String(), err)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"--channel", "beta"}, {"--arch", "mips"}, {"--timeout", "0s"}, {"--bootstrap", "/ip4/192.0.2.1"}, {"--ephemeral", "--socket", "x"}} {
		var stdout, stderr bytes.Buffer
		err := Run(context.Background(), args, nil, &stdout, &stderr)
		if code, _ := program.Code(err); code != 2 || errors.Is(err, program.ErrDone) {
			t.Errorf("%v: %v, want a usage error", args, err)
		}
	}
}

// A sender that announces much and answers nothing keeps no other from being
// asked, be it from one address or from many.
func TestSilentHoldUpOnlyThemselves(t *testing.T) {
	for name, c := range map[string]struct {
		announcements int
		source        func(i int) netip.Addr
	}{
		"one":  {5000, func(int) netip.Addr { return netip.MustParseAddr("192.0.2.66") }},
		"many": {asksAtOnce - 1, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}) }},
	} {
		t.Run(name, func(t *testing.T) { holdUp(t, c.announcements, c.source) })
	}
}

func holdUp(t *testing.T, announcements int, source func(i int) netip.Addr) {
	key := newKey(t)
	rootText, err := os.ReadFile(writeRoot(t, key))
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(rootText)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	once := sync.OnceFunc(func() { close(asked) })
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-asked:
			http.NotFound(w, r)
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	h := give(signed(t, key, 42))
	honest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once()
		h.ServeHTTP(w, r)
	}))
	defer honest.Close()
	found := announcer(func(announce func(url string, source netip.Addr, version uint64)) {
		for i := range announcements {
			announce(silent.URL, source(i), 100+uint64(i))
		}
		announce(honest.URL, netip.MustParseAddr("192.0.2.1"), 42)
	})
	began := time.Now()
	nodes, err := gather(t.Context(), roots.Loaded{Roots: []trust.Root{root}}, []survey.Finder{found}, nil, time.Hour)
	// One after the other, five thousand would take ten times the time for one.
	if err != nil || len(nodes) != 1 || nodes[0].Version != 42 || time.Since(began) > 4*askTime {
		t.Errorf("found %+v after %v", nodes, time.Since(began))
	}
}

// announcer announces under names that never come twice.
type announcer func(announce func(url string, source netip.Addr, version uint64))

func (f announcer) Find(ctx context.Context) (<-chan survey.Announcement, error) {
	found := make(chan survey.Announcement)
	go func() {
		defer close(found)
		f(func(url string, source netip.Addr, version uint64) {
			a := survey.Announcement{Key: fmt.Sprint(source, version), Source: source.String(), Interface: "eth0", URLs: []string{url},
				Channel: "stable", Arch: "x86_64", Version: version, Name: "phase-" + source.String()}
			select {
			case found <- a:
			case <-ctx.Done():
			}
		})
	}()
	return found, nil
}
