package attacks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"phase/appliance/machine/control"
	"phase/tests/barenode"
	"phase/tests/netlab"
)

// plasmdRows are what somebody does who has taken plasmd over: a program of
// plasmd's user on a node of processes. The walls of the device's own kernel, and
// init itself, take a machine: tests/machines.
func plasmdRows(t *testing.T, m *matrix) {
	netlab.NeedRoot(t)
	p := newProject(t)
	m.try(t, "plasmd", row{0, "taken-over", "plasmd's user writes what is others', reads their keys, loads a kernel, mounts, stops update, asks init", func(t *testing.T) (string, bool) {
		others := netlab.NewMachine(t, "others")
		wire := netlab.NewSwitch(t, "segment", netlab.Wire{})
		wire.Join(t, others, "eth0", strangerAddress+"/24")
		n := newNode(t, p, serve(t, on(t, others, strangerAddress), p.made.Next.Honest(nil)))
		wire.Join(t, n.Machine, "eth0", nodeAddress+"/24")
		n.Put(t, "perm/phase/update.key", []byte(secret))
		if err := os.Chmod(n.Path("perm/phase/update.key"), 0o600); err != nil {
			t.Fatal(err)
		}
		n.control(t)
		n.Start(t)
		n.Update.AwaitText(t, fmt.Sprintf("fetched and verified version %d", nextVersion)) // so that all its files are there
		intruder := n.intrude(t)
		if err := intruder.AwaitEnd(t); err != nil {
			return strings.Join(intruder.Lines(), "; "), false
		}
		var refused []string
		for _, line := range intruder.Lines() {
			if strings.HasPrefix(line, "done: ") {
				return line, false
			}
			if what, ok := strings.CutPrefix(line, "refused: "); ok {
				refused = append(refused, what)
			}
		}
		t.Log(strings.Join(intruder.Lines(), "\n"))
		if err := n.well(t, p); err != nil {
			return err.Error(), false
		}
		return strings.Join(refused, "; "), len(refused) > 10 && has(intruder.Lines()[len(intruder.Lines())-1], "that is all")
	}})
}

// control answers at init's socket as init does who asks what: nothing comes of
// what is allowed.
func (n *node) control(t *testing.T) {
	t.Helper()
	l, err := control.Listen(n.Path(control.Socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() {
		served <- control.Serve(ctx, l, func(control.Request) (control.Response, func()) { return control.Response{OK: true}, nil })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// intrude starts tests/guests/intruder in the place of plasmd.
func (n *node) intrude(t *testing.T) *netlab.Process {
	t.Helper()
	at := n.Path("tmp/intruder")
	build := exec.Command("go", "build", "-o", at, "phase/tests/guests/intruder")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return n.Machine.Start(t, netlab.Program{Path: "/tmp/intruder", Args: []string{fmt.Sprint(n.Update.PID())}, Root: n.Root, Dir: "/", User: barenode.User, Quiet: true})
}
