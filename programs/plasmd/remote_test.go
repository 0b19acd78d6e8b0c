package plasmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/remote"
	"phase/tests/await"
)

// onNetwork starts a daemon that has a part in the network of nodes, on loopback
// alone, and returns it with where others reach it.
func onNetwork(t *testing.T, more ...string) (p *process, address string) {
	t.Helper()
	p = daemon(t, t.TempDir(), append([]string{"--network", "internet", "--listen", "/ip4/127.0.0.1/tcp/0"}, more...)...)
	until(t, func() bool {
		peers, err := p.client.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(peers.Addresses) > 0 {
			address = peers.Addresses[0]
		}
		return address != ""
	})
	return p, address
}

// until waits for something to happen.
func until(t *testing.T, happened func() bool) {
	t.Helper()
	if err := await.Until(t.Context(), happened); err != nil {
		t.Fatal(err)
	}
}

// patient is for jobs that are to end by themselves, on a machine with other work too.
const patient = "10m"

// sent runs execute-job by a daemon.
func sent(ctx context.Context, by *process, stdin string, args ...string) (a remote.Answer, stderr string, err error) {
	var out, said bytes.Buffer
	err = Run(ctx, append([]string{"execute-job", "--socket", by.socket}, args...), strings.NewReader(stdin), &out, &said)
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &a)
	}
	return a, said.String(), err
}

// A job goes from one daemon to another in a process of its own, and its receipt
// is the other's.
func TestExecuteJobOnAPeer(t *testing.T) {
	worker, at := onNetwork(t, "--accept", "all")
	miser, atMiser := onNetwork(t)
	asked, _ := onNetwork(t, "--peer", at, "--peer", atMiser)
	peer := worker.pin(t).PeerID
	file := module(t)
	a, _, err := sent(t.Context(), asked, "over there", "--on", peer, "--memory", "64", "--timeout", patient, file)
	if err != nil {
		t.Fatal(err)
	}
	if a.Stdout == nil || *a.Stdout != "ereht revo" || a.Worker != peer || a.Outcome != job.Exited || len(a.Attempts) != 1 || a.Attempts[0].Result != remote.ResultDone {
		t.Errorf("%+v", a)
	}
	if _, err := receipt.Verify(a.Receipt, worker.pin(t)); err != nil {
		t.Error(err)
	}
	// The run is in the history of the node that ran it, and not of the other.
	if d, err := worker.client.Job(t.Context(), a.RunID); err != nil || d.State != history.Done || d.Requester != "peer "+asked.pin(t).PeerID {
		t.Errorf("%+v, %v", d.Run, err)
	}
	if page, err := asked.client.Jobs(t.Context(), "", 10); err != nil || len(page.Jobs) != 0 {
		t.Errorf("%+v, %v", page, err)
	}

	refusing, stranger := miser.pin(t).PeerID, newPeer(t)
	for on, want := range map[string][]string{
		refusing:            {"NotAuthorized", refusing},
		stranger:            {"PeerUnreachable", stranger},
		asked.pin(t).PeerID: {"InvalidRequest", "this node itself"},
	} {
		_, _, err := sent(t.Context(), asked, "", "--on", on, file)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("on %s: %v, want %s", on, err, part)
			}
		}
	}
}

// Who is interrupted ends the job on the other node.
func TestInterruptedJobEndsOnThePeer(t *testing.T) {
	worker, at := onNetwork(t, "--accept", "all")
	asked, _ := onNetwork(t, "--peer", at)
	file := filepath.Join(t.TempDir(), "loop.wasm")
	if err := os.WriteFile(file, loopModule, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, _, err := sent(ctx, asked, "", "--on", worker.pin(t).PeerID, "--memory", "1", "--timeout", "1h", file)
		ended <- err
	}()
	state := func(want history.State) func() bool {
		return func() bool {
			page, err := worker.client.Jobs(t.Context(), "", 1)
			if err != nil {
				t.Fatal(err)
			}
			return len(page.Jobs) == 1 && page.Jobs[0].State == want
		}
	}
	until(t, state(history.Running))
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until(t, state(history.Done))
	if page, err := worker.client.Jobs(t.Context(), "", 1); err != nil || *page.Jobs[0].Outcome != job.Cancelled {
		t.Errorf("%+v, %v", page, err)
	}
}

// Another node cannot be reached without a daemon, and it says so.
func TestOnAPeerWithoutADaemon(t *testing.T) {
	dir := user(t)
	file := filepath.Join(dir, "least.wasm")
	if err := os.WriteFile(file, leastModule, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--on", newPeer(t)}, {"--on", "auto"}, {"--replicas", "2"}} {
		err := Run(t.Context(), append(append([]string{"execute-job"}, args...), file), strings.NewReader(""), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "plasmd start") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func newPeer(t *testing.T) string {
	t.Helper()
	id, err := identity.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return id.PeerID()
}

// Any node that fits runs the job; where it dies, another does, and it is said
// what happened.
func TestExecuteJobOnAnyNode(t *testing.T) {
	first, at := onNetwork(t, "--accept", "all")
	second, atSecond := onNetwork(t, "--accept", "all")
	_, atMiser := onNetwork(t)
	asked, _ := onNetwork(t, "--peer", at, "--peer", atSecond, "--peer", atMiser)
	until(t, func() bool {
		peers, err := asked.client.Peers(t.Context())
		return err == nil && len(peers.Peers) >= 3
	})
	workers := map[string]*process{first.pin(t).PeerID: first, second.pin(t).PeerID: second}

	a, said, err := sent(t.Context(), asked, "any", "--on", "auto", "--memory", "64", "--timeout", patient, module(t))
	if err != nil || *a.Stdout != "yna" || a.Worker == asked.pin(t).PeerID {
		t.Errorf("%+v, %q, %v", a, said, err)
	}
	a, said, err = sent(t.Context(), asked, "two", "--replicas", "2", "--memory", "64", "--timeout", patient, module(t))
	if err != nil || *a.Stdout != "owt" || len(a.Replicas) != 2 || a.Replicas[0].Peer == a.Replicas[1].Peer || len(a.Liars) != 0 {
		t.Errorf("%+v, %q, %v", a, said, err)
	}

	file := filepath.Join(t.TempDir(), "loop.wasm")
	if err := os.WriteFile(file, loopModule, 0o600); err != nil {
		t.Fatal(err)
	}
	killed := make(chan string, 1)
	go func() {
		_ = await.Until(t.Context(), func() bool {
			for id, p := range workers {
				page, err := p.client.Jobs(t.Context(), "", 1)
				if err == nil && len(page.Jobs) == 1 && page.Jobs[0].State == history.Running {
					_ = p.cmd.Process.Kill()
					killed <- id
					return true
				}
			}
			return false
		})
	}()
	a, said, err = sent(t.Context(), asked, "", "--on", "auto", "--memory", "1", "--timeout", "3", file)
	dead := <-killed
	if err != nil {
		t.Fatal(err)
	}
	if a.Outcome != job.Timeout || a.Worker == dead || len(a.Attempts) < 2 || !strings.Contains(said, dead) {
		t.Errorf("%s was killed: %+v, %q", dead, a, said)
	}
}
