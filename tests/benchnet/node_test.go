// Package benchnet measures what a job on another node costs over the network of
// nodes, beside bare streams of libp2p in the same run. `make bench-net` runs it
// and makes a table of it.
package benchnet

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/worker"
	"phase/appliance/compute/worker/inside"
	"phase/appliance/network/frame"
	"phase/appliance/network/peer"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.Command { // as plasmd starts its worker
		os.Exit(inside.Main(context.Background()))
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// The transports, by what they listen on.
var transports = map[string]string{"quic": "/ip4/127.0.0.1/udp/0/quic-v1", "tcp": "/ip4/127.0.0.1/tcp/0"}

// node is a node of the network that runs the jobs of all.
type node struct {
	*peer.Node
	id     identity.Identity
	runs   *scheduler.Scheduler
	client *remote.Client
}

// start starts a node that listens by one transport, on loopback.
func start(b *testing.B, listen string) *node {
	b.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	h, err := history.Open(filepath.Join(b.TempDir(), history.File), history.Limits{Runs: 10_000, Bytes: 64 << 20, Nonces: 1 << 16})
	if err != nil {
		b.Fatal(err)
	}
	runner := scheduler.NewRunner(id)
	if runner.Pool, err = scheduler.OpenPool(modulecache.Config{}); err != nil {
		b.Fatal(err)
	}
	n := &node{id: id, runs: scheduler.New(runner, h, scheduler.Limits{
		Cores: 8, MemoryMB: 8192, Queue: 256, PerRequester: 128, TimeoutSec: job.MaxTimeoutSeconds, OutputBytes: 1 << 30, HeldBytes: 1 << 30,
	}, time.Now)}
	if n.Node, err = peer.Open(peer.Config{Identity: id, Listen: []string{listen}}); err != nil {
		b.Fatal(err)
	}
	accept, err := remote.ParseAccept("all")
	if err != nil {
		b.Fatal(err)
	}
	server, err := remote.NewServer(remote.Config{Runs: n.runs, History: h, Accept: accept, PeerID: id.PeerID(), Arch: "x86_64", Sign: id.Sign})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { n.Run(ctx) })
	n.Handle(remote.JobProtocol, func(from string, s peer.Stream) { server.Job(ctx, from, s) })
	n.Handle(remote.NodeProtocol, func(from string, s peer.Stream) { server.Node(ctx, from, s) })
	n.client = &remote.Client{Dial: func(ctx context.Context, id, protocol string) (frame.Stream, error) { return n.Dial(ctx, id, protocol) }}
	b.Cleanup(func() {
		cancel()
		all.Wait()
		n.Close()
		runner.Pool.Close()
		if err := h.Close(); err != nil {
			b.Error(err)
		}
	})
	return n
}

// pair is two connected nodes: jobs go from the first to the second.
func pair(b *testing.B, transport string) (from, to *node) {
	b.Helper()
	from, to = start(b, transports[transport]), start(b, transports[transport])
	if err := from.Connect(b.Context(), libpeer.AddrInfo{ID: to.Host().ID(), Addrs: to.Host().Addrs()}); err != nil {
		b.Fatal(err)
	}
	return from, to
}

// each runs a measurement over each transport.
func each(b *testing.B, run func(b *testing.B, from, to *node)) {
	for _, name := range []string{"quic", "tcp"} {
		from, to := pair(b, name)
		b.Run(name, func(b *testing.B) { run(b, from, to) })
	}
}

// modules builds the programs for WASI, once each.
var modules = map[string]func() ([]byte, error){}

func init() {
	for _, path := range []string{"phase/examples/hello", "phase/tests/guests/cat"} {
		modules[path] = sync.OnceValues(func() ([]byte, error) {
			dir, err := os.MkdirTemp("", "module")
			if err != nil {
				return nil, err
			}
			defer os.RemoveAll(dir)
			file := filepath.Join(dir, "module.wasm")
			build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, path)
			build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
			if out, err := build.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("building %s: %w: %s", path, err, out)
			}
			return os.ReadFile(file)
		})
	}
}

func module(b *testing.B, path string) []byte {
	b.Helper()
	data, err := modules[path]()
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// hello is a job of examples/hello, as it is sent once.
func hello(b *testing.B) func() scheduler.Offer {
	b.Helper()
	text, input := module(b, "phase/examples/hello"), []byte("hello")
	wanted := job.Default(text)
	wanted.MemoryMB, wanted.StdinHash = 64, job.Hash(input)
	spec, err := job.New(wanted)
	if err != nil {
		b.Fatal(err)
	}
	held := modulecache.NewModule(text)
	return func() scheduler.Offer {
		return scheduler.Offer{Spec: spec, Module: held, Stdin: input, Nonce: scheduler.NewNonce()}
	}
}

// laps collects how long each of many things took.
type laps []time.Duration

func (l *laps) time(do func()) {
	began := time.Now()
	do()
	*l = append(*l, time.Since(began))
}

// report says the median and the 99th percentile, in milliseconds.
func (l laps) report(b *testing.B) {
	slices.Sort(l)
	b.ReportMetric(float64(l[len(l)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(l[len(l)*99/100])/1e6, "p99-ms")
}
