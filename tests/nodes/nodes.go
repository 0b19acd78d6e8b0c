// Package nodes has nodes for tests that run jobs for each other: real servers,
// schedulers and workers, over TCP on the loopback. What stands for the transport
// believes who a stream says it is from. Hostile nodes follow a script.
package nodes

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/worker"
	"phase/appliance/compute/worker/inside"
	"phase/appliance/network/frame"
	"phase/tests/await"
)

// Main runs the tests, or the worker that a test's own program is started as.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.Command { // as plasmd starts its worker
		os.Exit(inside.Main(context.Background()))
	}
	os.Exit(m.Run())
}

// tcpStream is a TCP connection as a Stream.
type tcpStream struct{ *net.TCPConn }

func (s tcpStream) Reset() error {
	return errors.Join(s.SetLinger(0), s.Close())
}

// Network has the addresses of nodes by peer id. It stands for the transport: a
// stream begins with a line that names who opens it, and is believed.
type Network struct {
	mu    sync.Mutex
	nodes map[string]string
	// Wrap changes the requester's side of the streams that are opened; nil leaves
	// it as it is.
	Wrap func(frame.Stream) frame.Stream
}

// NewNetwork returns a network without nodes.
func NewNetwork() *Network { return &Network{nodes: map[string]string{}} }

// Serve answers the streams to a peer until the test ends.
func (n *Network) Serve(t testing.TB, peerID string, answer func(from, protocol string, s frame.Stream)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				r := bufio.NewReaderSize(oneByte{c}, 16) // no byte more than the line
				line, err := r.ReadString('\n')
				if err != nil {
					c.Close()
					return
				}
				from, protocol, _ := strings.Cut(strings.TrimSpace(line), " ")
				answer(from, protocol, tcpStream{c.(*net.TCPConn)})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	n.mu.Lock()
	n.nodes[peerID] = l.Addr().String()
	n.mu.Unlock()
}

// Redirect has streams to a peer go to another, who is believed to be that peer.
func (n *Network) Redirect(peerID, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[peerID] = n.nodes[to]
}

// oneByte reads one byte at a time.
type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(1, len(p))]) }

// Dial is the Dial of the peer self.
func (n *Network) Dial(self string) remote.Dial {
	return func(ctx context.Context, peerID, protocol string) (frame.Stream, error) {
		n.mu.Lock()
		address, wrap := n.nodes[peerID], n.Wrap
		n.mu.Unlock()
		if address == "" {
			return nil, errors.New("no address is known")
		}
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintf(c, "%s %s\n", self, protocol); err != nil {
			return nil, err
		}
		var s frame.Stream = tcpStream{c.(*net.TCPConn)}
		if wrap != nil {
			s = wrap(s)
		}
		return s, nil
	}
}

// Node is a node that runs jobs for others.
type Node struct {
	Server  *remote.Server
	Runs    *scheduler.Scheduler
	History *history.History
	Stop    context.CancelFunc // ends its streams

	id  identity.Identity
	ctx context.Context
}

var wide = scheduler.Limits{
	Cores: 2, MemoryMB: 1024, Queue: 16, PerRequester: 16, TimeoutSec: 3600, OutputBytes: job.DefaultOutputBytes, HeldBytes: 256 << 20,
}

// Quick are times for tests in which something is waited for that does not come.
var Quick = remote.Times{Beat: 50 * time.Millisecond, Grace: 200 * time.Millisecond, Input: 500 * time.Millisecond}

// NewID returns a new identity.
func NewID(t testing.TB) identity.Identity {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Start starts a node with a real scheduler, pool and history.
func (n *Network) Start(t testing.TB, accept string, change func(*remote.Config, *scheduler.Limits)) *Node {
	t.Helper()
	id := NewID(t)
	h, err := history.Open("", history.Limits{Runs: 1000, Bytes: 16 << 20, Nonces: 1000})
	if err != nil {
		t.Fatal(err)
	}
	runner := scheduler.NewRunner(id)
	if runner.Pool, err = scheduler.OpenPool(modulecache.Config{}); err != nil {
		t.Fatal(err)
	}
	who, err := remote.ParseAccept(accept)
	if err != nil {
		t.Fatal(err)
	}
	limits := wide
	c := remote.Config{History: h, Accept: who, PeerID: id.PeerID(), Arch: "x86_64", Times: Quick, Sign: id.Sign}
	if change != nil {
		change(&c, &limits)
	}
	c.Runs = scheduler.New(runner, h, limits, time.Now)
	s, err := remote.NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	it := &Node{id: id, Server: s, Runs: c.Runs, History: h}
	it.ctx, it.Stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		runner.Pool.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	n.Serve(t, id.PeerID(), func(from, protocol string, stream frame.Stream) {
		if protocol == remote.NodeProtocol {
			s.Node(it.ctx, from, stream)
			return
		}
		s.Job(it.ctx, from, stream)
	})
	t.Cleanup(func() {
		it.Stop()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		it.Runs.Stop(ended)
	})
	return it
}

// Peer is its peer id.
func (n *Node) Peer() string { return n.id.PeerID() }

// Idle waits until nothing runs, waits or is open at a node.
func (n *Node) Idle(t testing.TB) {
	t.Helper()
	err := await.Until(t.Context(), func() bool {
		l := n.Runs.Load()
		return l.Running+l.Waiting+l.MemoryUsedMB+n.Server.Stats().Streams == 0 && l.HeldUsed == 0
	})
	if err != nil {
		t.Fatalf("%+v, %+v: %v", n.Runs.Load(), n.Server.Stats(), err)
	}
}

var modules sync.Map

// Module builds a program for WASI, by its package's path, once.
func Module(t testing.TB, path string) []byte {
	t.Helper()
	build, _ := modules.LoadOrStore(path, sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "module")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "module.wasm")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, path)
		build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		return os.ReadFile(file)
	}))
	data, err := build.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Offer is a job with 64 MiB and its input named.
func Offer(t testing.TB, module, stdin []byte, change func(*job.Job)) scheduler.Offer {
	t.Helper()
	j := job.Default(module)
	j.MemoryMB = 64
	if stdin != nil {
		j.StdinHash = job.Hash(stdin)
	}
	if change != nil {
		change(&j)
	}
	spec, err := job.New(j)
	if err != nil {
		t.Fatal(err)
	}
	return scheduler.Offer{Spec: spec, Module: modulecache.NewModule(module), Stdin: stdin, Nonce: scheduler.NewNonce()}
}
