package network

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"os/exec"
	"slices"

	"strings"
	"testing"
	"time"

	"phase/appliance/compute/history"
	"phase/appliance/network/peer"
	"phase/tests/await"
	"phase/tests/netlab"
)

// secrets are the parts of the job, as they would stand in a frame: what it is
// made of, what goes in and what comes out, and the pieces of the module one by one.
func secrets() map[string][]byte {
	module := swapper(jobModule)
	all := map[string][]byte{"module": []byte(jobModule), "input": []byte(jobInput), "output": []byte(jobOutput), "wasi": []byte("wasi_snapshot_preview1")}
	for at := 0; at+16 <= len(module); at += 16 {
		all["module at "+hex.EncodeToString([]byte{byte(at >> 8), byte(at)})] = module[at : at+16]
	}
	for _, name := range []string{"module", "input", "output"} {
		encoded := base64.StdEncoding.EncodeToString(all[name])
		all[name+" in base64"] = []byte(strings.TrimRight(encoded, "=")[:len(encoded)-4])
	}
	return all
}

// Nothing of a job can be read on the wire, by either transport.
func TestJobIsEncrypted(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"quic", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			on, a, b, _ := pair(t, listenOn(transport)...)
			capture := on.Capture()
			if a.execute(t, b.id, "--on", b.id); t.Failed() {
				return
			}
			protocol, sent := map[string]uint8{"quic": 17, "tcp": 6}[transport], 0
			for _, f := range capture.Frames() {
				if p := f.Packet(); p.Protocol == protocol && p.SourcePort == 7420 && p.TargetPort == 7420 {
					sent += len(p.Payload)
				}
			}
			if least := len(swapper(jobModule)) + len(jobInput) + len(jobOutput); sent < least {
				t.Errorf("%d bytes crossed the wire; the job has %d", sent, least)
			}
			for name, secret := range secrets() {
				if f, ok := capture.Contains(secret); ok {
					t.Errorf("%s can be read in %v", name, f)
				}
			}
			// The same, not encrypted, is found in the capture.
			send(t, a.machine, "192.168.7.2:9", swapper(jobModule))
			send(t, a.machine, "192.168.7.2:9", []byte(jobInput))
			for _, name := range []string{"module", "wasi", "input"} {
				secret := secrets()[name]
				if err := await.Until(t.Context(), func() bool { _, ok := capture.Contains(secret); return ok }); err != nil {
					t.Errorf("%s sent in clear is not seen: %v", name, err)
				}
			}
		})
	}
}

// send sends a datagram from a machine.
func send(t testing.TB, from *netlab.Machine, to string, data []byte) {
	t.Helper()
	from.Do(t, func() error {
		conn, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		_, err = conn.Write(data)
		return errors.Join(err, conn.Close())
	})
}

// Without the network there is no job: with the link cut it ends with an error
// that names the peer, and is not run on the node that was asked.
func TestJobFailsWithoutTheNetwork(t *testing.T) {
	t.Parallel()
	_, a, b, cable := pair(t)
	a.execute(t, b.id, "--on", b.id)
	cable.Cut()
	for _, on := range []string{b.id, "auto"} {
		stdout, stderr, err := a.run(t, jobInput, "execute-job", "--on", on, "--memory", "16", "--timeout", "5", module(t))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || stdout != "" {
			t.Errorf("--on %s: %v, %s", on, err, stdout)
		}
		if on == b.id && !strings.Contains(stderr, b.id) {
			t.Errorf("the error does not name the peer: %s", stderr)
		}
		t.Logf("--on %s: %s", on, bytes.TrimSpace([]byte(stderr)))
	}
	page, err := a.api.Jobs(t.Context(), "", 10)
	if err != nil || len(page.Jobs) != 0 {
		t.Errorf("it ran on the node that was asked: %+v, %v", page.Jobs, err)
	}
	cable.Restore()
	a.until(t, "a job after the link is back", func() bool {
		answer, _, err := a.send(t, "--on", b.id)
		if err == nil {
			a.check(t, b.id, answer)
		}
		return err == nil
	})
	if page, err := b.api.Jobs(t.Context(), "", 10); err != nil || len(page.Jobs) < 2 || slices.ContainsFunc(page.Jobs, func(r history.Run) bool { return r.Requester != "peer "+a.id }) {
		t.Errorf("the history of the worker: %+v, %v", page.Jobs, err)
	}
}

// Where a relay dies without a goodbye, those who met through it are connected
// through another, and work for each other.
func TestJobAfterTheRelayDied(t *testing.T) {
	t.Parallel()
	w, relays := newWorld(t, "quic", 2)
	a, b := w.behind(t, "a", 1, netlab.EndpointDependent), w.behind(t, "b", 2, netlab.EndpointDependent)
	for _, n := range []*node{a, b} {
		n.until(t, "a place at both relays", func() bool {
			p, err := n.api.Peers(t.Context())
			text := strings.Join(p.Addresses, " ")
			return err == nil && strings.Contains(text, relays[0].id+"/p2p-circuit") && strings.Contains(text, relays[1].id+"/p2p-circuit")
		})
	}
	a.execute(t, b.id, "--on", b.id)
	is, _ := a.peer(t, b.id)
	dead, alive := relays[0], relays[1]
	if strings.Contains(is.Address, alive.id) {
		dead, alive = alive, dead
	}
	if is.Path != peer.Relayed || !strings.Contains(is.Address, dead.id) {
		t.Fatalf("the path is %+v", is)
	}
	dead.Freeze() // its sockets stay open and silent
	died := time.Now()
	a.until(t, "a connection through the other relay", func() bool {
		is, _ = a.peer(t, b.id)
		return is.Path == peer.Relayed && strings.Contains(is.Address, alive.id)
	})
	t.Logf("connected through the other relay after %v", time.Since(died).Round(time.Millisecond))
	a.execute(t, b.id, "--on", b.id)
	// The other end finds out by itself that the old connection is dead.
	b.until(t, "a job the other way", func() bool {
		answer, _, err := b.send(t, "--on", a.id)
		if err == nil {
			b.check(t, a.id, answer)
		}
		return err == nil
	})
}
