package remote

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/frame"
	"phase/tests/await"
)

// A job runs on another node, its module is sent once, and the receipt verifies.
func TestAJobRunsElsewhere(t *testing.T) {
	n := newNetwork()
	worker, me := n.start(t, "all", nil), newID(t)
	client := &Client{Dial: n.dial(me.PeerID()), Times: quick}
	hello := module(t, "phase/examples/hello")
	for i, want := range []string{"one node", "two nodes"} {
		o := offer(t, hello, []byte(want), nil)
		done, err := client.Run(t.Context(), worker.peer(), o, scheduler.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		if string(done.Stdout) != reversed(want)+"" || len(done.Stderr) != 0 || done.Outcome != job.Exited {
			t.Errorf("job %d: %+v %q %q", i, done.Result, done.Stdout, done.Stderr)
		}
		if e, err := worker.history.Get(done.RunID); err != nil || e.Requester != "peer "+me.PeerID() {
			t.Errorf("the history has %+v, %v", e.Run, err)
		}
	}
	if got := worker.server.Stats(); got.Accepted != 2 || got.Broken+got.Garbled+got.Dropped != 0 {
		t.Errorf("%+v", got)
	}
}

func reversed(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

// typed is an input that comes while the module runs.
type typed struct {
	io.Reader
	hash hash.Hash
}

func newTyped(from io.Reader) *typed { return &typed{from, sha256.New()} }

func (t *typed) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.hash.Write(p[:n])
	return n, err
}

func (t *typed) Sum() (sum [sha256.Size]byte) {
	t.hash.Sum(sum[:0])
	return sum
}

// Input that is streamed is read while the module runs, and output comes as it
// is written.
func TestStreamedInputAndOutput(t *testing.T) {
	n := newNetwork()
	worker := n.start(t, "all", nil)
	client := &Client{Dial: n.dial(newID(t).PeerID()), Times: quick}
	in := bytes.Repeat([]byte("0123456789abcde\n"), 40_000)
	o := offer(t, module(t, "phase/examples/hello"), nil, nil)
	o.Input = newTyped(bytes.NewReader(in))
	var out bytes.Buffer
	o.Stdout = &out
	done, err := client.Run(t.Context(), worker.peer(), o, scheduler.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if out.Len() != len(in) || done.Stdout != nil || done.Input != sha256.Sum256(in) {
		t.Errorf("%d bytes came out, %d in Done, of %d", out.Len(), len(done.Stdout), len(in))
	}
}

// What is not accepted is rejected with the reason, before its module is sent.
func TestRejections(t *testing.T) {
	n := newNetwork()
	friend, other := newID(t), newID(t)
	small := n.start(t, friend.PeerID(), func(c *Config, l *scheduler.Limits) { l.MemoryMB = 100 })
	none := n.start(t, "none", nil)
	loop := module(t, "phase/examples/hello")
	for name, c := range map[string]struct {
		from   string
		to     *node
		change func(*job.Job)
		reason scheduler.Reason
		says   string
	}{
		"nobody's jobs":   {friend.PeerID(), none, nil, scheduler.NotAuthorized, "--accept"},
		"another's":       {other.PeerID(), small, nil, scheduler.NotAuthorized, other.PeerID()},
		"too much memory": {friend.PeerID(), small, func(j *job.Job) { j.MemoryMB = 200 }, scheduler.InsufficientResources, "200 asked for, this node gives at most 100"},
		"too many cores":  {friend.PeerID(), small, func(j *job.Job) { j.CPUCores = 64 }, scheduler.InsufficientResources, "cpu_cores: 64"},
	} {
		client := &Client{Dial: n.dial(c.from), Times: quick}
		_, err := client.Run(t.Context(), c.to.peer(), offer(t, loop, nil, c.change), scheduler.Watch{})
		checkRejected(t, name, err, c.to, c.reason, c.says)
	}
	client := &Client{Dial: n.dial(friend.PeerID()), Times: quick}
	if _, err := client.Run(t.Context(), other.PeerID(), offer(t, loop, nil, nil), scheduler.Watch{}); FailureOf(err) != Unreachable {
		t.Errorf("a peer without an address: %v", err)
	}
	if _, err := client.Run(t.Context(), "nonsense", offer(t, loop, nil, nil), scheduler.Watch{}); FailureOf(err) != Unreachable {
		t.Errorf("no peer id: %v", err)
	}
}

// The streams of one peer are counted, and the count goes down again.
func TestStreamsOfAPeerAreBounded(t *testing.T) {
	n := newNetwork()
	worker := n.start(t, "all", func(c *Config, _ *scheduler.Limits) { c.PeerStreams = 2 })
	me := newID(t).PeerID()
	client := &Client{Dial: n.dial(me), Times: quick}
	var open []frame.Stream
	for range 2 {
		s, err := client.Dial(t.Context(), worker.peer(), JobProtocol)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	streams := func(want int) {
		t.Helper()
		if err := await.Until(t.Context(), func() bool { return worker.server.Stats().Streams == want }); err != nil {
			t.Fatal(err)
		}
	}
	streams(2)
	hello := module(t, "phase/examples/hello")
	_, err := client.Run(t.Context(), worker.peer(), offer(t, hello, nil, nil), scheduler.Watch{})
	checkRejected(t, "a third stream", err, worker, scheduler.QueueFull, "2 streams")
	other := &Client{Dial: n.dial(newID(t).PeerID()), Times: quick}
	if _, err := other.Run(t.Context(), worker.peer(), offer(t, hello, nil, nil), scheduler.Watch{}); err != nil {
		t.Errorf("another peer: %v", err)
	}
	for _, s := range open {
		s.Reset()
	}
	streams(0)
	if _, err := client.Run(t.Context(), worker.peer(), offer(t, hello, nil, nil), scheduler.Watch{}); err != nil {
		t.Errorf("when they have ended: %v", err)
	}
}

// Anyone may ask a node what it can do, and believes what the node has signed.
func TestCapabilities(t *testing.T) {
	n := newNetwork()
	worker := n.start(t, "none", func(c *Config, l *scheduler.Limits) { l.MemoryMB = 300 })
	client := &Client{Dial: n.dial(newID(t).PeerID()), Times: quick}
	got, err := client.Record(t.Context(), worker.peer())
	if err != nil {
		t.Fatal(err)
	}
	if got.MemoryMB != 300 || got.FreeMB != 300 || got.Accept != "none" || got.Arch != "x86_64" || got.Latency <= 0 {
		t.Errorf("%+v", got)
	}
	liar := newID(t).PeerID()
	n.mu.Lock()
	n.nodes[liar] = n.nodes[worker.peer()] // answers with the record of another
	n.mu.Unlock()
	if _, err := client.Record(t.Context(), liar); FailureOf(err) != Lied {
		t.Errorf("another's record: %v", err)
	}
}
