package discover

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/program"
	"phase/appliance/daemon/api"
	"phase/appliance/network/releases"
	"phase/tests/netlab"
	"phase/tests/peertest"
	"phase/tests/storetest"
)

// fleet is a node that holds a release under the second root of its fleet and
// has no HTTP, and another by which it is found.
func fleet(t *testing.T) (root string, holder, between peertest.Node) {
	t.Helper()
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	root = filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, one.Root.Raw(), 0o644); err != nil {
		t.Fatal(err)
	}
	between = peertest.Start(t, peertest.Config{Roots: storetest.NewSigner(t).Chain})
	holder = peertest.Start(t, peertest.Config{Roots: two.Chain, Known: []peertest.Node{between},
		Held: []storetest.Release{two.Release(t, "stable", "x86_64", 7, storetest.Sizes)}})
	return root, holder, between
}

// discover runs the program and returns what it printed.
func discover(t *testing.T, args ...string) ([]Node, string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := Run(t.Context(), append(args, "--json", "--timeout", "4s"), nil, &stdout, &stderr)
	var nodes []Node
	if json.Unmarshal(stdout.Bytes(), &nodes) != nil {
		t.Fatalf("printed %s, %v", stdout.String(), err)
	}
	return nodes, stderr.String(), err
}

// A release is found by way of a peer that knows who has it, by a program with a
// host of its own and by one that asks the daemon, and under a root that follows
// the one that is trusted.
func TestBeyondTheLocalNetwork(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	root, holder, between := fleet(t)
	key, err := identity.ParsePeerID(holder.ID())
	if err != nil {
		t.Fatal(err)
	}
	daemon := peertest.Start(t, peertest.Config{Roots: storetest.NewSigner(t).Chain, Known: []peertest.Node{between}})
	for name, args := range map[string][]string{
		"bootstrap": {"--bootstrap", between.Addresses()[0]},
		"daemon":    {"--socket", socket(t, daemonOf(t, root, between))},
	} {
		nodes, said, err := discover(t, append(args, "--root", root)...)
		if err != nil || len(nodes) != 1 {
			t.Errorf("%s: %+v, %v\n%s", name, nodes, err, said)
			continue
		}
		if n := nodes[0]; n.Version != 7 || n.Peer != holder.ID() || n.Name != identity.Name(key) || n.URL != releases.StreamURL(holder.ID()) {
			t.Errorf("%s: found %+v", name, n)
		}
	}
	// A daemon of another fleet finds nothing of this one.
	if nodes, _, err := discover(t, "--root", root, "--socket", socket(t, daemon)); len(nodes) != 0 {
		t.Errorf("through a daemon of another fleet: %+v, %v", nodes, err)
	}
}

// daemonOf is a node that trusts a root and holds nothing.
func daemonOf(t *testing.T, root string, between peertest.Node) peertest.Node {
	t.Helper()
	data, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	return peertest.Start(t, peertest.Config{Roots: storetest.SignerOf(t, data, nil).Chain, Known: []peertest.Node{between}})
}

// socket serves what a node finds, as plasmd does.
func socket(t *testing.T, n peertest.Node) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ConnContext: api.Peer, Handler: api.Socket(api.Config{
		Peers:    func(context.Context) api.Peers { return api.Peers{Peers: make([]api.Connected, len(n.Peers()))} },
		Releases: func() *releases.Releases { return n.Releases },
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return path
}

// Bootstrap peers that are not there, or are another, are named, with the reason,
// and keep nobody waiting.
func TestBootstrapNotReached(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	root, holder, between := fleet(t)
	gone := "/ip4/127.0.0.1/udp/9/quic-v1/p2p/" + between.ID()
	other := strings.Replace(holder.Addresses()[0], holder.ID(), between.ID(), 1)
	for _, address := range []string{gone, other} {
		began := time.Now()
		var stdout, stderr bytes.Buffer
		err := Run(t.Context(), []string{"--root", root, "--bootstrap", address, "--timeout", "7s"}, nil, &stdout, &stderr)
		if code, _ := program.Code(err); code != 1 || !strings.Contains(err.Error(), "bootstrap peer "+address+" is not reached: ") {
			t.Errorf("%s: %v", address, err)
		}
		if took := time.Since(began); took > 7*time.Second+answerTime+3*time.Second {
			t.Errorf("%s: it took %v", address, took)
		}
		t.Log(err)
	}
}
