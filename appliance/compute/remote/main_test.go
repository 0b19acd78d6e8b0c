package remote

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
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/worker"
	"phase/appliance/network/frame"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.Command { // as plasmd starts its worker
		os.Exit(worker.Main(context.Background()))
	}
	os.Exit(m.Run())
}

// tcpStream is a TCP connection as a Stream.
type tcpStream struct{ *net.TCPConn }

func (s tcpStream) Reset() error {
	return errors.Join(s.SetLinger(0), s.Close())
}

// network has the addresses of nodes by peer id. It stands for the transport: a
// stream begins with a line that names who opens it, and is believed.
type network struct {
	mu    sync.Mutex
	nodes map[string]string
	wrap  func(frame.Stream) frame.Stream // of the requester's side; nil leaves it as it is
}

func newNetwork() *network { return &network{nodes: map[string]string{}} }

// serve answers the streams to a peer until the test ends.
func (n *network) serve(t testing.TB, peerID string, answer func(from, protocol string, s frame.Stream)) {
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

// oneByte reads one byte at a time.
type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(1, len(p))]) }

// dial is the Dial of the peer self.
func (n *network) dial(self string) Dial {
	return func(ctx context.Context, peerID, protocol string) (frame.Stream, error) {
		n.mu.Lock()
		address, wrap := n.nodes[peerID], n.wrap
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

// node is a node that runs jobs for others.
type node struct {
	id      identity.Identity
	server  *Server
	runs    *scheduler.Scheduler
	history *history.History
	ctx     context.Context
	stop    context.CancelFunc
}

var wide = scheduler.Limits{
	Cores: 2, MemoryMB: 1024, Queue: 16, PerRequester: 16, TimeoutSec: 3600, OutputBytes: job.DefaultOutputBytes, HeldBytes: 256 << 20,
}

// quick are times for tests in which something is waited for that does not come.
var quick = Times{Beat: 50 * time.Millisecond, Grace: 200 * time.Millisecond, Input: 500 * time.Millisecond}

func newID(t testing.TB) identity.Identity {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// start starts a node with a real scheduler, pool and history.
func (n *network) start(t testing.TB, accept string, change func(*Config, *scheduler.Limits)) *node {
	t.Helper()
	id := newID(t)
	h, err := history.Open("", history.Limits{Runs: 1000, Bytes: 16 << 20, Nonces: 1000})
	if err != nil {
		t.Fatal(err)
	}
	runner := scheduler.NewRunner(id)
	if runner.Pool, err = scheduler.OpenPool(modulecache.Config{}); err != nil {
		t.Fatal(err)
	}
	who, err := ParseAccept(accept)
	if err != nil {
		t.Fatal(err)
	}
	limits := wide
	c := Config{History: h, Accept: who, PeerID: id.PeerID(), Arch: "x86_64", Times: quick, Sign: id.Sign}
	if change != nil {
		change(&c, &limits)
	}
	c.Runs = scheduler.New(runner, h, limits, time.Now)
	s, err := NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	it := &node{id: id, server: s, runs: c.Runs, history: h}
	it.ctx, it.stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		runner.Pool.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	n.serve(t, id.PeerID(), func(from, protocol string, stream frame.Stream) {
		if protocol == NodeProtocol {
			s.Node(it.ctx, from, stream)
			return
		}
		s.Job(it.ctx, from, stream)
	})
	t.Cleanup(func() {
		it.stop()
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		it.runs.Stop(ended)
	})
	return it
}

func (n *node) peer() string { return n.id.PeerID() }

// module builds a program for WASI, once each.
var modules sync.Map

func module(t testing.TB, path string) []byte {
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

// offer is a job with 64 MiB and its input named.
func offer(t testing.TB, module, stdin []byte, change func(*job.Job)) scheduler.Offer {
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
