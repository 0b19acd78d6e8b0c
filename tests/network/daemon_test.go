package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/tests/await"
	"phase/tests/netlab"
	"phase/tests/storetest"
)

// daemon is a plasmd in a machine of its own.
type daemon struct {
	*netlab.Process
	peer    string
	address string // for the bootstrap lists of others
	socket  string
	client  *api.Client
	machine *netlab.Machine
	ip      string
	args    []string
}

// daemonArgs say what a daemon is.
type daemonArgs struct {
	root     string // its root of trust
	memoryMB int    // that it gives to jobs
	flags    []string
}

// shortDir is a folder in whose path there is room for that of a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func write(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// at are the options that have plasmd listen at an address, and know others.
func at(ip string, bootstrap []string) (args []string) {
	for _, a := range listenAt(ip) {
		args = append(args, "--listen", a)
	}
	for _, a := range bootstrap {
		args = append(args, "--bootstrap", a)
	}
	return args
}

// newDaemon makes what a daemon is started with, in a machine of its own.
func newDaemon(t testing.TB, w *internet, name string, a daemonArgs) *daemon {
	t.Helper()
	dir := shortDir(t)
	id, err := identity.Load(dir) // which the daemon finds there
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{peer: id.PeerID(), socket: filepath.Join(dir, "s")}
	d.machine, d.ip = w.machine(t, name)
	d.address, d.client = "/ip4/"+d.ip+"/udp/7420/quic-v1/p2p/"+d.peer, api.NewClient(d.socket)
	config := write(t, filepath.Join(dir, "conf"), fmt.Appendf(nil, "[jobs]\ncores = 1\nmemory_mb = %d\n", a.memoryMB))
	d.args = append([]string{"start", "--config", config, "--socket", d.socket, "--data", dir,
		"--state", filepath.Join(dir, "none"), "--root", a.root, "--network", "internet"}, a.flags...)
	return d
}

// start starts the daemon, and does not wait for it.
func (d *daemon) start(t testing.TB, plasmd string, bootstrap ...string) {
	t.Helper()
	d.Process = d.machine.Start(t, netlab.Program{Path: plasmd, Quiet: true, Args: append(d.args, at(d.ip, bootstrap)...)})
}

// startDaemon is both.
func startDaemon(t testing.TB, w *internet, plasmd, name string, a daemonArgs, bootstrap ...string) *daemon {
	t.Helper()
	d := newDaemon(t, w, name, a)
	d.start(t, plasmd, bootstrap...)
	return d
}

// startProvider starts a provider of a signed release and returns it with its
// peer id.
func startProvider(t testing.TB, w *internet, plasmd, name string, signer *storetest.Signer, version uint64, bootstrap ...string) (p *netlab.Process, peer string) {
	t.Helper()
	m, ip := w.machine(t, name)
	dir := t.TempDir()
	signer.Write(t, dir, signer.Release(t, "stable", "x86_64", version, storetest.Sizes))
	p = m.Start(t, netlab.Program{Path: plasmd, Quiet: true, Args: append([]string{"serve", "-a", dir, "-b", ip, "--no-mdns"}, at(ip, bootstrap)...)})
	return p, strings.TrimPrefix(p.Await(t, "its peer id", func(line string) bool { return strings.HasPrefix(line, "peer ") }), "peer ")
}

// until waits for the daemon to say something of its peers.
func (d *daemon) until(t testing.TB, what string, ok func(api.Peers) bool) {
	t.Helper()
	var last api.Peers
	if err := await.Until(t.Context(), func() (done bool) {
		p, err := d.client.Peers(t.Context())
		last = p
		return err == nil && ok(p)
	}); err != nil {
		t.Fatalf("%s: waiting for %s: %v; %d peers, %d in the routing table; it said\n%s",
			d.Name, what, err, len(last.Peers), last.RoutingTable, strings.Join(d.Lines(), "\n"))
	}
}

// release looks for a release, and returns the first answer.
func (d *daemon) release(t testing.TB) (f found) {
	ctx, cancel := context.WithTimeout(t.Context(), lookTime)
	defer cancel()
	began := time.Now()
	f.Problem = "none was found"
	err := d.client.Releases(ctx, "stable", "x86_64", func(a api.Found) bool {
		f = found{First: time.Since(began), Best: time.Since(began), Version: a.Version, Peer: a.Peer}
		return false
	})
	if err != nil {
		f.Problem = err.Error()
	}
	return f
}

// leastModule does nothing: (module (func) (start 0)).
var leastModule = []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x08\x01\x00\x0a\x04\x01\x02\x00\x0b")

// job has any node run a job that asks for so much memory, and verifies its
// receipt.
func (d *daemon) job(t testing.TB, memoryMB int) (f found) {
	ctx, cancel := context.WithTimeout(t.Context(), lookTime)
	defer cancel()
	input := []byte("none")
	wanted := job.Default(leastModule)
	wanted.MemoryMB, wanted.StdinHash = memoryMB, job.Hash(input)
	spec, err := job.New(wanted)
	if err != nil {
		return found{Problem: err.Error()}
	}
	o := scheduler.Offer{Spec: spec, Module: modulecache.NewModule(leastModule), Stdin: input, Nonce: scheduler.NewNonce()}
	began := time.Now()
	done, err := d.client.ExecuteOn(ctx, remote.Where{On: remote.Auto}, o)
	f = found{First: time.Since(began), Best: time.Since(began), Peer: done.Worker}
	if err == nil {
		err = done.Verify(remote.Where{On: remote.Auto}, o)
	}
	if err != nil {
		f.Problem = err.Error()
	}
	return f
}
