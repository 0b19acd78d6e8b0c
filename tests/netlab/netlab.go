// Package netlab gives tests machines and wires of their own. There are two
// ways. A test of one package runs again inside a new network namespace, starts
// nodes that are processes of the test binary in namespaces of theirs, and joins
// them with cables on a bridge (Isolated, Start, Segment). A test of whole
// programs makes machines, starts programs in them, and joins them with switches
// that can delay, lose, count and capture frames, and routers that translate
// addresses in the ways that routers do (NewMachine, NewSwitch, NAT). Nothing
// leaves the namespaces, and all of it is gone when the test is. It needs root
// and Linux; without root a test skips and says so.
package netlab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const isolatedVar = "PHASE_NETLAB_ISOLATED"

// patience is how long an event is waited for. It bounds a hung test; it is
// no statement about speed.
const patience = 60 * time.Second

// Isolated runs the calling test again in a network namespace of its own and
// returns false; in there it returns true. So a test begins with
//
//	if !netlab.Isolated(t) { return }
func Isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(isolatedVar) != "" {
		return true
	}
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v=true", "-test.count=1")
	cmd.Env = append(os.Environ(), isolatedVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// The signal at the parent's death is sent when the thread that started
	// the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Skipf("a network namespace cannot be made: %v", err)
	}
	err := cmd.Wait()
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "--- SKIP") {
		t.Skip("see above")
	}
	return false
}

// Node is a process in a network namespace of its own.
type Node struct {
	Name  string
	cmd   *exec.Cmd
	stdin io.Closer
	ns    *os.File // its namespace, which lives at least as long as this
	ended chan struct{}

	mu    sync.Mutex
	lines [][]byte
	read  int
	more  chan struct{}
}

// Start starts a node that does role with args, given as JSON.
func Start(t *testing.T, name, role string, args any) *Node {
	t.Helper()
	n := &Node{Name: name, cmd: exec.Command(os.Args[0]), ended: make(chan struct{}), more: make(chan struct{}, 1)}
	n.cmd.Env = append(os.Environ(), roleEnv(t, role, args)...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}
	n.cmd.Stderr = &logWriter{t: t, name: name}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if n.ns, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", n.cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(n.ended)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			n.mu.Lock()
			n.lines = append(n.lines, bytes.Clone(scanner.Bytes()))
			n.mu.Unlock()
			select {
			case n.more <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		n.Stop(t)
		n.ns.Close()
	})
	return n
}

// Stop ends the node in good order and waits for it.
func (n *Node) Stop(t *testing.T) {
	t.Helper()
	if n.cmd.ProcessState != nil {
		return
	}
	n.stdin.Close()
	select {
	case <-n.ended:
	case <-time.After(patience):
		t.Errorf("%s does not end", n.Name)
		n.cmd.Process.Kill()
		<-n.ended
	}
	if err := n.cmd.Wait(); err != nil {
		t.Errorf("%s: %v", n.Name, err)
	}
}

// Kill ends the node as a power cut does.
func (n *Node) Kill() {
	n.cmd.Process.Kill()
	<-n.ended
	n.cmd.Wait()
}

// Wait reads what the node says, from after what the last Wait read, until ok
// says it is what was waited for.
func Wait[T any](t *testing.T, n *Node, what string, ok func(T) bool) T {
	t.Helper()
	timeout := time.After(patience)
	for {
		n.mu.Lock()
		for n.read < len(n.lines) {
			line := n.lines[n.read]
			n.read++
			var v T
			if err := json.Unmarshal(line, &v); err != nil {
				n.mu.Unlock()
				t.Fatalf("%s said %q: %v", n.Name, line, err)
			}
			if ok(v) {
				n.mu.Unlock()
				return v
			}
		}
		n.mu.Unlock()
		select {
		case <-n.more:
		case <-n.ended:
			n.mu.Lock()
			done := n.read == len(n.lines)
			n.mu.Unlock()
			if done {
				t.Fatalf("%s has ended; waiting for: %s", n.Name, what)
			}
		case <-timeout:
			n.mu.Lock()
			var said []byte
			if len(n.lines) > 0 {
				said = n.lines[len(n.lines)-1]
			}
			n.mu.Unlock()
			t.Fatalf("%s: waited %v for: %s; it last said %s", n.Name, patience, what, said)
		}
	}
}

// Do runs f on this process's thread inside the node's namespace: sockets
// opened in f belong to the node. f must not start goroutines that open more.
func (n *Node) Do(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if err := unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	f()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err) // the thread stays locked, and dies with the goroutine
	}
	runtime.UnlockOSThread()
}

// Segment is a switch in the test's own namespace.
type Segment struct {
	Bridge netlink.Link
	ports  int
}

// NewSegment makes a switch named name (at most eight characters), raised.
func NewSegment(t *testing.T, name string) *Segment {
	t.Helper()
	off := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &off}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Skipf("this kernel makes no bridge: %v", err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		t.Fatal(err)
	}
	return &Segment{Bridge: bridge}
}

// Cable is the wire between a segment and a node's interface.
type Cable struct {
	// MAC is what the node's interface was made with.
	MAC  string
	near netlink.Link
}

// Plug makes an interface named name in the node and joins it to the segment.
// The node's end is left down, for the node to raise.
func (s *Segment) Plug(t *testing.T, n *Node, name string) *Cable {
	t.Helper()
	s.ports++
	near := fmt.Sprintf("%sp%d", s.Bridge.Attrs().Name, s.ports)
	far := near + "x"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: near, MasterIndex: s.Bridge.Attrs().Index}, PeerName: far}); err != nil {
		t.Fatal(err)
	}
	end, err := netlink.LinkByName(far)
	if err != nil {
		t.Fatal(err)
	}
	// Renamed before it moves: the node must never see two names.
	if err := netlink.LinkSetName(end, name); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNsFd(end, int(n.ns.Fd())); err != nil {
		t.Fatal(err)
	}
	port, err := netlink.LinkByName(near)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{end.Attrs().HardwareAddr.String(), port}
	c.Restore(t)
	return c
}

// Pull takes the carrier away from the node's end.
func (c *Cable) Pull(t *testing.T) {
	t.Helper()
	if err := netlink.LinkSetDown(c.near); err != nil {
		t.Fatal(err)
	}
}

// Restore gives the carrier back.
func (c *Cable) Restore(t *testing.T) {
	t.Helper()
	if err := netlink.LinkSetUp(c.near); err != nil {
		t.Fatal(err)
	}
}

// logWriter carries a node's stderr into the test's log until the test ends.
type logWriter struct {
	t    *testing.T
	name string
}

func (w *logWriter) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		w.t.Logf("%s: %s", w.name, strings.TrimRight(line, "\n"))
	}
	return len(b), nil
}
