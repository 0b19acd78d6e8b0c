package attacks

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/appliance/network/frame"
	"phase/appliance/network/peer"
	"phase/tests/await"
	"phase/tests/nodes"
)

// daemon is plasmd start, with a part in a network that is the loopback.
type daemon struct {
	dir, socket, id string
}

// startDaemon starts it, and waits until it is connected to peers.
func startDaemon(t *testing.T, peers []*stranger, more ...string) *daemon {
	t.Helper()
	dir := t.TempDir()
	d := &daemon{dir: dir, socket: filepath.Join(dir, "s")}
	args := []string{"plasmd", "start", "--config", write(t, "plasmd.toml", nil), "--socket", d.socket, "--data", filepath.Join(dir, "data"),
		"--state", dir, "--root", filepath.Join(dir, "root.json"), "--network", "internet", "--listen", "/ip4/127.0.0.1/tcp/0"}
	for _, p := range peers {
		args = append(args, "--peer", p.Addresses()[0])
	}
	command := exec.Command(phase(t), append(args, more...)...)
	out, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait() // it may have ended
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "peer "); ok {
			d.id = id
			break
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()
	client := api.NewClient(d.socket)
	err = await.Until(t.Context(), func() bool {
		p, err := client.Peers(t.Context())
		return err == nil && len(p.Peers) >= len(peers)
	})
	if err != nil {
		t.Fatalf("the daemon has not met its peers: %v", err)
	}
	return d
}

// stranger is a peer that the test plays.
type stranger struct {
	*peer.Node
	id identity.Identity
}

func newStranger(t *testing.T) *stranger {
	t.Helper()
	id := nodes.NewID(t)
	n, err := peer.Open(peer.Config{Identity: id, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, OnLink: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { n.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended; n.Close() })
	return &stranger{n, id}
}

// hears is the script of an honest worker, which hears the input to its end.
func hears(o *nodes.Offered) error {
	statement := o.Statement("the truth", "")
	envelope, err := o.Receipt(statement)
	if err == nil {
		err = o.Accept()
	}
	for last := o.Head.StdinSize != nil && *o.Head.StdinSize == 0; err == nil && !last; {
		var h nodes.Head
		h, _, err = o.Until("input")
		last = h.Last
	}
	if err != nil {
		return err
	}
	return o.Answer("the truth", "", statement, envelope)
}

// offers sends an offer to a daemon as another program would, and returns the
// last frame of the answer.
func (s *stranger) offers(t *testing.T, d *daemon, o scheduler.Offer, change func(*nodes.Head)) (h nodes.Head, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	stream, err := s.Dial(ctx, d.id, remote.JobProtocol)
	if err != nil {
		return h, err
	}
	defer stream.Reset()
	c, none := nodes.ByHand(stream), int64(0)
	h = nodes.Head{
		Type: "offer", Nonce: o.Nonce, Expires: time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano),
		ModuleSize: int64(len(o.Module.Bytes())), StdinSize: &none,
	}
	if change != nil {
		change(&h)
	}
	if err := c.Say(h, o.Spec.File()); err != nil {
		return h, err
	}
	for {
		h, _, err := c.Hear()
		if err != nil || h.Type != "accepted" && h.Type != "running" && h.Type != "stdout" {
			return h, err
		}
		if h.Module == "needed" {
			if err := c.Say(nodes.Head{Type: "module"}, o.Module.Bytes()); err != nil {
				return h, err
			}
		}
	}
}

// tell is an answer in words.
func tell(h nodes.Head, err error) string {
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(h.Type + " " + h.Reason + " " + h.Detail)
}

// jobRows have strangers send offers to a daemon, and a daemon send jobs to
// workers that lie.
func jobRows(t *testing.T, m *matrix) {
	friend, nobody := newStranger(t), newStranger(t)
	worker := startDaemon(t, []*stranger{friend, nobody}, "--accept", friend.id.PeerID())
	module := nodes.Says("the truth", false)
	offer := func(t *testing.T) scheduler.Offer { return nodes.Offer(t, module, nil, nil) }
	rejected := func(says string, h nodes.Head, err error) (string, bool) {
		return tell(h, err), err == nil && h.Type == "rejected" && has(h.Reason+" "+h.Detail, says)
	}
	rows := []row{
		{0, "not-accepted", "an offer of a peer that is not accepted", func(t *testing.T) (string, bool) {
			h, err := nobody.offers(t, worker, offer(t), nil)
			return rejected("NotAuthorized", h, err)
		}},
		{0, "replayed", "the same offer once more", func(t *testing.T) (string, bool) {
			o := offer(t)
			if h, err := friend.offers(t, worker, o, nil); err != nil || h.Type != "result" {
				return "the first one: " + tell(h, err), false
			}
			h, err := friend.offers(t, worker, o, nil)
			return rejected("has been run already", h, err)
		}},
		{0, "late", "an offer that has expired", func(t *testing.T) (string, bool) {
			h, err := friend.offers(t, worker, offer(t), func(h *nodes.Head) { h.Expires = "2026-01-01T00:00:00Z" })
			return rejected("the offer expired", h, err)
		}},
		{0, "other-module", "another module than the job names", func(t *testing.T) (string, bool) {
			o := offer(t)
			o.Module = nodes.Offer(t, nodes.Says("jello", false), nil, nil).Module
			h, err := friend.offers(t, worker, o, func(h *nodes.Head) { h.ModuleSize = int64(len(o.Module.Bytes())) })
			return rejected("module", h, err)
		}},
		{0, "loop", "a module that never ends", func(t *testing.T) (string, bool) {
			h, err := friend.offers(t, worker, nodes.Offer(t, nodes.Loops(), nil, func(j *job.Job) { j.TimeoutSeconds = 1 }), nil)
			return tell(h, err) + " " + string(h.Outcome), err == nil && h.Outcome == job.Timeout
		}},
		{0, "flood", "a module that writes without end", func(t *testing.T) (string, bool) {
			most := int64(1000)
			h, err := friend.offers(t, worker, nodes.Offer(t, nodes.Says("again and again", true), nil, func(j *job.Job) { j.OutputBytes = &most }), nil)
			return tell(h, err) + " " + string(h.Outcome), err == nil && h.Outcome == job.Output
		}},
	}
	m.try(t, "jobs", append(rows, lieRows(t, module)...)...)
}

// lieRows are workers that lie to plasmd execute-job. They are asked one after
// the other, by one daemon.
func lieRows(t *testing.T, module []byte) (rows []row) {
	liar := newStranger(t)
	scripts := make(chan func(*nodes.Offered) error, 1)
	liar.Handle(remote.JobProtocol, func(from string, s peer.Stream) {
		nodes.Answer(t, liar.id, <-scripts)(from, remote.JobProtocol, frame.Stream(s))
	})
	d, file := startDaemon(t, []*stranger{liar}), write(t, "module.wasm", module)
	turn := make(chan struct{}, 1)
	execute := func(t *testing.T, script func(*nodes.Offered) error) ended {
		turn <- struct{}{}
		defer func() { <-turn }()
		scripts <- script
		return call(t, "plasmd", "execute-job", "--socket", d.socket, "--on", liar.id.PeerID(), "--memory", "64", file)
	}
	for name, lie := range nodes.Lies {
		if name == "too much output" { // the command line has no limit as small
			continue
		}
		rows = append(rows, row{0, "lie-" + strings.ReplaceAll(name, " ", "-"), "a worker lies: " + name, func(t *testing.T) (string, bool) {
			e := execute(t, lie.Script)
			return e.said(), e.code == 1 && e.stdout == "" && has(e.stderr, lie.Says) && has(e.stderr, liar.id.PeerID())
		}})
	}
	return append(rows, row{0, "truth", "a worker that tells the truth, beside those that lie: its result is taken", func(t *testing.T) (string, bool) {
		e := execute(t, hears)
		return fmt.Sprintf("%s [exit %d]", lastLine(e.stderr), e.code), e.code == 0 && has(e.stdout, `"stdout": "the truth"`)
	}})
}
