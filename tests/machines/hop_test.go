package machines

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/qemu"
	"phase/tests/lab"
)

// Two nodes on two segments, joined by a router that carries no multicast. B is
// told one address of A, and no provider: it finds the release by the DHT, and
// runs it. Then it does a job for the host, which asks A. What crosses the hop is
// encrypted.
func TestRoutedHop(t *testing.T) {
	t.Parallel()
	w, one, two := open(t, machineArch), segment(t), segment(t)
	router, err := qemu.NewRouter(one, netip.MustParsePrefix("10.1.0.1/24"), two, netip.MustParsePrefix("10.2.0.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(router.Close)

	a := w.start(t, one, w.flashed(t, w.next, "phase.ip=10.1.0.2/24,10.1.0.1"), qemu.Config{Name: "A"})
	idA := up(t, a, lab.Begin, nextVersion)
	b := w.start(t, two, w.stick(t, "phase.ip=10.2.0.2/24,10.2.0.1", "phase.accept=all",
		"phase.bootstrap=/ip4/10.1.0.2/udp/7420/quic-v1/p2p/"+idA.Peer), qemu.Config{Name: "B"})
	idB := up(t, b, lab.Begin, stubVersion)
	line(t, b, lab.Begin, lab.LineConnected+idA.Peer+` path=direct address=/ip4/10\.1\.0\.2/`)
	line(t, a, lab.Begin, lab.LineConnected+idB.Peer+` path=direct address=/ip4/10\.2\.0\.2/`)

	found, _ := line(t, b, lab.Begin, fmt.Sprintf(`update: found version %d .*at (\S+)`, nextVersion))
	if at := found[0]; at != "http://10.1.0.2:8080" && at != "http://"+idA.Peer+".libp2p" {
		t.Errorf("B found the release at %s, which is not A", at)
	}
	again := jumped(t, b, lab.Begin, nextVersion)
	if again.Peer != idB.Peer {
		t.Errorf("B was %s before the jump and is %s after it", idB.Peer, again.Peer)
	}
	serves(t, b, w.next)
	_, jump := line(t, b, lab.Begin, lab.LineJump)
	line(t, b, jump, lab.LineConnected+idA.Peer)
	inTable(t, b) // not before the jump, which may come first
	onPeer(t, a, idA, idB.Peer, one, two)
}

// The addresses of the two nodes.
var atA, atB = netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.2.0.2")

// inTable waits until a node has a peer in the table of the DHT.
func inTable(t *testing.T, n *lab.Node) {
	t.Helper()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for ctx := patient(t); status(t, n).Network.RoutingTable == 0; {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s goes on to have nobody in the table of the DHT", n.Name())
		}
	}
}

// echo returns its input.
// (module
//
//	(import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
//	(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
//	(memory (export "memory") 1)
//	(data (i32.const 0) "\40\00\00\00\00\10\00\00\00\00\00\00\00\00\00\00a module that nobody on the way may read")
//	(func (export "_start")
//	  (drop (call 0 (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
//	  (i32.store (i32.const 4) (i32.load (i32.const 8)))
//	  (drop (call 1 (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
const echo = "\x00asm\x01\x00\x00\x00\x01\x0c\x02\x60\x00\x00\x60\x04\x7f\x7f\x7f\x7f\x01\x7f" +
	"\x02\x44\x02\x16wasi_snapshot_preview1\x07fd_read\x00\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x01" +
	"\x03\x02\x01\x00\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06_start\x00\x02\x06memory\x02\x00" +
	"\x0a\x24\x01\x22\x00\x41\x00\x41\x00\x41\x01\x41\x08\x10\x00\x1a\x41\x04\x41\x08\x28\x02\x00\x36\x02\x00\x41\x01\x41\x00\x41\x01\x41\x08\x10\x01\x1a\x0b" +
	"\x0b\x3e\x01\x00\x41\x00\x0b\x38\x40\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + moduleSecret

const (
	moduleSecret = "a module that nobody on the way may read"
	inputSecret  = "an input, and so an output, that nobody on the way may read"
)

// onPeer has a node send a job to a peer, and holds the receipt to that peer's
// key. near is the segment that the host asks the node on, far where the peer is.
func onPeer(t *testing.T, n *lab.Node, id lab.Identity, peer string, near, far *qemu.Segment) {
	t.Helper()
	atHost, atHop := capture(t, near, "job-at-the-host"), capture(t, far, "job-behind-the-hop")
	a, err := n.JobOn(patient(t), peer, id.Token, []byte(echo), inputSecret, func(j *job.Job) {
		j.MemoryMB, j.TimeoutSeconds = 16, enough
	})
	if err != nil {
		t.Fatalf("a job for %s through %s: %v", peer, n.Name(), err)
	}
	key, err := identity.ParsePeerID(peer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := receipt.Verify(a.Receipt, receipt.Pin{PeerID: peer, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CheckStdout(sha256.Sum256(a.Stdout)); err != nil {
		t.Error(err)
	}
	if p := s.Predicate; string(a.Stdout) != inputSecret || p.Outcome != job.Exited || p.ExitCode != 0 || p.ModuleHash != job.Hash([]byte(echo)) {
		t.Errorf("the job returned %q, %q and %+v", a.Stdout, a.Stderr, p)
	}
	if a.Worker != peer {
		t.Errorf("%s says that %q ran the job", n.Name(), a.Worker)
	}
	inClear, sealed := atHost(), atHop()
	for _, secret := range []string{moduleSecret, inputSecret} {
		// The host speaks HTTP with the node, on their own wire: there the search
		// finds what it looks for.
		if inClear.with([]byte(secret)) == "" {
			t.Errorf("%q is not on the segment of the host", secret)
		}
		if f := sealed.with([]byte(secret)); f != "" {
			t.Errorf("%q crosses the hop in clear: %s", secret, f)
		}
	}
	between := 0
	for _, f := range sealed {
		if p := f.Packet(); p.Source == atA && p.Target == atB {
			between++
		}
	}
	if between == 0 {
		t.Error("nothing that A sent to B was captured")
	}
}
