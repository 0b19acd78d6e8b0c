package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/identity"
	"phase/tests/await"
	"phase/tests/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m, map[string]netlab.Role{"node": nodeRole}) }

// nodeArgs are what a node of the lab is started with.
type nodeArgs struct {
	Config  Config
	Seed    string // 32 bytes, of which its identity is made
	Control string // the socket by which the test asks it
}

// nodeRole is one node, which the test asks by HTTP over a socket.
func nodeRole(ctx context.Context, args []byte, _ func(any)) error {
	var a nodeArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	var err error
	if a.Config.Identity, err = identity.Ephemeral(strings.NewReader(a.Seed)); err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	n, err := Open(a.Config)
	if err != nil {
		return err
	}
	defer n.Close()
	listener, err := net.Listen("unix", a.Control)
	if err != nil {
		return err
	}
	answer := func(w http.ResponseWriter, v any) { json.NewEncoder(w).Encode(v) }
	mux := http.NewServeMux()
	mux.HandleFunc("/peers", func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Peers()) })
	mux.HandleFunc("/connections", func(w http.ResponseWriter, _ *http.Request) {
		by := []string{}
		for _, c := range n.host.Network().Conns() {
			by = append(by, c.RemoteMultiaddr().String()+"/p2p/"+c.RemotePeer().String())
		}
		answer(w, by)
	})
	mux.HandleFunc("/addresses", func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Addresses()) })
	mux.HandleFunc("/goroutines", func(w http.ResponseWriter, _ *http.Request) {
		stacks := make([]byte, 1<<20)
		answer(w, string(stacks[:runtime.Stack(stacks, true)]))
	})
	mux.HandleFunc("/reachability", func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Reachability()) })
	mux.HandleFunc("/connect", func(w http.ResponseWriter, r *http.Request) {
		var to peer.AddrInfo
		for _, text := range r.URL.Query()["to"] {
			info, err := ParseAddress(text)
			if err != nil {
				answer(w, err.Error())
				return
			}
			to.ID, to.Addrs = info.ID, append(to.Addrs, info.Addrs...)
		}
		if err := n.Connect(ctx, to); err != nil {
			answer(w, err.Error())
			return
		}
		answer(w, "")
	})
	mux.HandleFunc("/introduction", func(w http.ResponseWriter, r *http.Request) {
		id, err := ID(r.URL.Query().Get("of"))
		if err != nil {
			answer(w, err.Error())
			return
		}
		told, err := n.askIntroduction(ctx, id, introduction{Public: []netip.Addr{netip.MustParseAddr(r.URL.Query().Get("seen"))}})
		if err != nil {
			told.Addresses = []string{err.Error()}
		}
		answer(w, told.Addresses)
	})
	server := http.Server{Handler: mux}
	go server.Serve(listener)
	defer server.Close()
	n.Run(ctx)
	return nil
}

// labNode is a node in a machine of the lab.
type labNode struct {
	*netlab.Process
	Machine *netlab.Machine
	id      string
	args    nodeArgs
	client  http.Client
	started time.Time
}

func newLabNode(t *testing.T, m *netlab.Machine, c Config) *labNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer") // of the test's name a socket's path would be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := &labNode{Machine: m, args: nodeArgs{Config: c, Seed: fmt.Sprintf("%-32s", m.Name), Control: filepath.Join(dir, "s")}}
	id, err := identity.Ephemeral(strings.NewReader(n.args.Seed))
	if err != nil {
		t.Fatal(err)
	}
	n.id = id.PeerID()
	n.client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", n.args.Control)
	}}
	t.Cleanup(n.client.CloseIdleConnections)
	n.start(t)
	return n
}

func (n *labNode) start(t *testing.T) {
	t.Helper()
	os.Remove(n.args.Control)
	n.started = time.Now()
	n.Process = n.Machine.Again(t, "node", n.args)
	if err := await.Until(t.Context(), func() bool { return n.get("/reachability", new(string)) == nil }); err != nil {
		t.Fatalf("%s does not answer: %v", n.Machine.Name, err)
	}
}

func (n *labNode) get(path string, v any) error {
	response, err := n.client.Get("http://node" + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (n *labNode) ask(t *testing.T, path string, v any) {
	t.Helper()
	if err := n.get(path, v); err != nil {
		t.Fatalf("%s: %s: %v", n.Machine.Name, path, err)
	}
}

func (n *labNode) addresses(t *testing.T) (list []string) {
	t.Helper()
	n.ask(t, "/addresses", &list)
	return list
}

// connect has the node connect to a peer at the addresses given.
func (n *labNode) connect(t *testing.T, to []string) (problem string) {
	t.Helper()
	n.ask(t, "/connect?"+url.Values{"to": to}.Encode(), &problem)
	return problem
}

// peer is what the node knows of a connected peer.
func (n *labNode) peer(t *testing.T, id string) (Info, bool) {
	t.Helper()
	var list []Info
	n.ask(t, "/peers", &list)
	at := slices.IndexFunc(list, func(i Info) bool { return i.Peer == id })
	if at < 0 {
		return Info{}, false
	}
	return list[at], true
}

// until waits for something of the node.
func (n *labNode) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := await.Until(t.Context(), ok); err != nil {
		var peers, addresses any
		var goroutines string
		n.get("/peers", &peers)
		n.get("/addresses", &addresses)
		n.get("/goroutines", &goroutines)
		t.Fatalf("%s: %s: %v\naddresses: %v\npeers: %v\n%s\n%s", n.Machine.Name, what, err, addresses, peers, goroutines, strings.Join(n.Lines(), "\n"))
	}
}

// place waits until the node can be reached through a relay and returns the
// addresses by which.
func (n *labNode) place(t *testing.T, relay string) (list []string) {
	t.Helper()
	n.until(t, "no place at a relay", func() bool {
		list = slices.DeleteFunc(n.addresses(t), func(a string) bool { return !strings.Contains(a, relay+"/p2p-circuit") })
		return len(list) > 0
	})
	t.Logf("%s: can be reached through a relay, at most %v after its start", n.Machine.Name, time.Since(n.started).Round(time.Millisecond))
	return list
}

// listenOn are the listen addresses of a transport.
func listenOn(transport string) []string {
	if transport == "quic" {
		return []string{"/ip4/0.0.0.0/udp/7420/quic-v1", "/ip6/::/udp/7420/quic-v1"}
	}
	return []string{"/ip4/0.0.0.0/tcp/7420", "/ip6/::/tcp/7420"}
}

func at(ip, transport, id string) string {
	kind := "/tcp/7420"
	if transport == "quic" {
		kind = "/udp/7420/quic-v1"
	}
	return "/ip4/" + ip + kind + "/p2p/" + id
}

// internet is a public segment of the lab with nodes of one transport.
type internet struct {
	*netlab.Internet
	transport string
}

func newInternet(t *testing.T, transport string) *internet {
	t.Helper()
	return &internet{netlab.NewInternet(t, netlab.Wire{Delay: 5 * time.Millisecond}), transport}
}

// relay starts a public node that carries others' connections.
func (w *internet) relay(t *testing.T, name, ip string, bootstrap ...string) *labNode {
	t.Helper()
	return newLabNode(t, w.Machine(t, name, ip), Config{Listen: listenOn(w.transport), Relay: true, Bootstrap: bootstrap})
}
