package api_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/journal"
)

// A module is run on a node, and what comes back is believed only with a receipt
// that the node which was asked has signed. For the daemon on this machine,
// NewClient takes the place of NewNodeClient.
func ExampleNewNodeClient() {
	url, token, peer, file, end := aNode() // in life a node's console shows them
	defer end()

	module, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	input := []byte("one node boots the next")
	wanted := job.Default(module)
	wanted.MemoryMB, wanted.TimeoutSeconds = 64, 60
	wanted.StdinHash = job.Hash(input)
	spec, err := job.New(wanted)
	if err != nil {
		panic(err)
	}
	key, err := identity.ParsePeerID(peer)
	if err != nil {
		panic(err)
	}

	offer := scheduler.Offer{Spec: spec, Module: modulecache.NewModule(module), Stdin: input, Nonce: scheduler.NewNonce()}
	ctx, cancel := context.WithTimeout(context.Background(), spec.Timeout()+2*time.Minute) // its limit, and its turn
	defer cancel()
	done, err := api.NewNodeClient(url, token).Execute(ctx, offer)
	if err != nil {
		panic(err)
	}
	if err := done.Verify(offer, receipt.Pin{PeerID: peer, Key: key}); err != nil {
		panic(err) // do not believe this node
	}
	fmt.Printf("%s %d: %s\n", done.Outcome, done.ExitCode, done.Stdout)
	// Output: exited 0: txen eht stoob edon eno
}

// aNode is a node to ask, and the module examples/hello.
func aNode() (url, token, peer, module string, end func()) {
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		panic(err)
	}
	kept, err := history.Open("", history.Limits{Runs: 10, Bytes: 1 << 20, Nonces: 10})
	if err != nil {
		panic(err)
	}
	token = "0123456789abcdef0123456789abcdef"
	limits := scheduler.Limits{Cores: 1, MemoryMB: 64, PerRequester: 1, TimeoutSec: 60, OutputBytes: job.DefaultOutputBytes, HeldBytes: 256 << 20}
	handler, err := api.Handler(api.Config{
		Runs: scheduler.New(scheduler.NewRunner(id), kept, limits, time.Now), History: kept, Log: journal.NewLog(io.Discard, time.Now), PeerID: id.PeerID(),
	}, token)
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	module = filepath.Join(dir, "hello.wasm")
	build := exec.Command("go", "build", "-o", module, "phase/examples/hello")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	server := httptest.NewServer(handler)
	return server.URL, token, id.PeerID(), module, func() {
		server.Close()
		if err := errors.Join(kept.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}
