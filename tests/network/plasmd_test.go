package network

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/daemon/api"
	"phase/appliance/network/peer"
	"phase/tests/await"
	"phase/tests/netlab"
)

// The names of the binary in build/tests.
const (
	binFolder = "../../build/tests/network"
	binName   = "plasmd"
)

// build builds the one binary as `make build` does, and returns the path of it
// under the name of plasmd.
var build = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(binFolder)
	if err != nil {
		return "", err
	}
	command := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "phase"), "phase/programs/phase")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building it: %w: %s", err, out)
	}
	path := filepath.Join(dir, binName)
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	return path, os.Symlink("phase", path)
})

// plasmd is the path of the program.
func plasmd(t testing.TB) string {
	t.Helper()
	netlab.NeedRoot(t)
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// node is a daemon in a machine.
type node struct {
	*netlab.Process
	machine *netlab.Machine
	dir     string // all that it keeps
	args    []string
	socket  string
	api     *api.Client
	id      string
	started time.Time
}

// startNode starts `plasmd start` in a machine, with more arguments, and waits
// until it answers on its socket.
func startNode(t testing.TB, m *netlab.Machine, args ...string) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") // of the test's name a socket's path would be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &node{machine: m, dir: dir, args: args, socket: filepath.Join(dir, "s")}
	if err := os.WriteFile(filepath.Join(dir, "plasmd.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.api = api.NewClient(n.socket)
	n.start(t)
	return n
}

// start starts it, again too.
func (n *node) start(t testing.TB) {
	t.Helper()
	n.Process = n.launch(t)
	n.ready(t)
}

// launch starts it and does not wait.
func (n *node) launch(t testing.TB) *netlab.Process {
	t.Helper()
	path := plasmd(t)
	n.started = time.Now()
	return n.machine.Start(t, netlab.Program{Path: path, Quiet: true, Args: append([]string{
		"start", "--config", filepath.Join(n.dir, "plasmd.toml"), "--socket", n.socket,
		"--data", filepath.Join(n.dir, "data"), "--state", n.dir, "--root", filepath.Join(n.dir, "root.json"),
	}, n.args...)})
}

// ready waits until it answers, and learns who it is.
func (n *node) ready(t testing.TB) {
	t.Helper()
	n.id = strings.TrimPrefix(n.Await(t, "its peer id", func(line string) bool { return strings.HasPrefix(line, "peer ") }), "peer ")
	n.AwaitText(t, "listening on ")
}

// run runs plasmd in the machine of the node, to ask its daemon.
func (n *node) run(t testing.TB, stdin, command string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return n.machine.Run(netlab.Program{Path: plasmd(t), Args: append([]string{command, "--socket", n.socket}, args...), Input: stdin})
}

// until waits for something of the node.
func (n *node) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if err := await.Until(t.Context(), ok); err != nil {
		known, _ := n.api.Peers(t.Context())
		state, _ := json.MarshalIndent(known, "", " ")
		t.Fatalf("%s: waiting for: %s: %v\n%s\n%s", n.machine.Name, what, err, state, strings.Join(n.Lines(), "\n"))
	}
}

// peers is what `plasmd peers --json` prints.
func (n *node) peers(t testing.TB) (p api.Peers) {
	t.Helper()
	stdout, stderr, err := n.run(t, "", "peers", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(stdout), &p)
	}
	if err != nil {
		t.Fatalf("%s: plasmd peers: %v: %s", n.machine.Name, err, stderr)
	}
	return p
}

// peer is what the node knows of a peer that is connected.
func (n *node) peer(t testing.TB, id string) (info peer.Info, ok bool) {
	t.Helper()
	p, err := n.api.Peers(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", n.machine.Name, err)
	}
	for _, c := range p.Peers {
		if c.Peer == id {
			return c.Info, true
		}
	}
	return info, false
}

// address is where the node listens, for the lists of others.
func (n *node) address(ip string) string { return "/ip4/" + ip + "/udp/7420/quic-v1/p2p/" + n.id }

// connected waits until the node says in its log that it is connected to a peer,
// and returns how long after its start that was.
func (n *node) connected(t testing.TB, id string) time.Duration {
	t.Helper()
	n.until(t, "a connection to "+id, func() bool { return n.says("connected", id) })
	return time.Since(n.started)
}

// says tells whether the node has told of such an event with a peer.
func (n *node) says(event, id string) bool {
	return slices.ContainsFunc(n.Lines(), func(line string) bool {
		return strings.Contains(line, "event="+event+" ") && strings.Contains(line+" ", "peer="+id+" ")
	})
}

// path is the last one that the node's log says for a peer.
func (n *node) path(id string) peer.Path {
	lines := n.Lines()
	for _, line := range slices.Backward(lines) {
		if _, rest, ok := strings.Cut(line, " path="); ok && strings.Contains(line+" ", "peer="+id+" ") {
			text, _, _ := strings.Cut(rest, " ")
			return peer.Path(text)
		}
	}
	return ""
}
