package remote_test

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/frame"
	"phase/tests/await"
	"phase/tests/nodes"
)

// A job runs on another node, its module is sent once, and the receipt verifies.
func TestAJobRunsElsewhere(t *testing.T) {
	n := nodes.NewNetwork()
	worker, me := n.Start(t, "all", nil), nodes.NewID(t)
	client := &remote.Client{Dial: n.Dial(me.PeerID()), Times: nodes.Quick}
	hello := nodes.Module(t, "phase/examples/hello")
	for i, want := range []string{"one node", "two nodes"} {
		o := nodes.Offer(t, hello, []byte(want), nil)
		done, err := client.Run(t.Context(), worker.Peer(), o, scheduler.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		if string(done.Stdout) != reversed(want)+"" || len(done.Stderr) != 0 || done.Outcome != job.Exited {
			t.Errorf("job %d: %+v %q %q", i, done.Result, done.Stdout, done.Stderr)
		}
		if e, err := worker.History.Get(done.RunID); err != nil || e.Requester != "peer "+me.PeerID() {
			t.Errorf("the history has %+v, %v", e.Run, err)
		}
	}
	if got := worker.Server.Stats(); got.Accepted != 2 || got.Broken+got.Garbled+got.Dropped != 0 {
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
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	in := bytes.Repeat([]byte("0123456789abcde\n"), 40_000)
	o := nodes.Offer(t, nodes.Module(t, "phase/examples/hello"), nil, nil)
	o.Input = newTyped(bytes.NewReader(in))
	var out bytes.Buffer
	o.Stdout = &out
	done, err := client.Run(t.Context(), worker.Peer(), o, scheduler.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if out.Len() != len(in) || done.Stdout != nil || done.Input != sha256.Sum256(in) {
		t.Errorf("%d bytes came out, %d in Done, of %d", out.Len(), len(done.Stdout), len(in))
	}
}

// What is not accepted is rejected with the reason, before its module is sent.
func TestRejections(t *testing.T) {
	n := nodes.NewNetwork()
	friend, other := nodes.NewID(t), nodes.NewID(t)
	small := n.Start(t, friend.PeerID(), func(c *remote.Config, l *scheduler.Limits) { l.MemoryMB = 100 })
	none := n.Start(t, "none", nil)
	loop := nodes.Loops()
	for name, c := range map[string]struct {
		from   string
		to     *nodes.Node
		change func(*job.Job)
		reason scheduler.Reason
		says   string
	}{
		"nobody's jobs":   {friend.PeerID(), none, nil, scheduler.NotAuthorized, "--accept"},
		"another's":       {other.PeerID(), small, nil, scheduler.NotAuthorized, other.PeerID()},
		"too much memory": {friend.PeerID(), small, func(j *job.Job) { j.MemoryMB = 200 }, scheduler.InsufficientResources, "200 asked for, this node gives at most 100"},
		"too many cores":  {friend.PeerID(), small, func(j *job.Job) { j.CPUCores = 64 }, scheduler.InsufficientResources, "cpu_cores: 64"},
	} {
		client := &remote.Client{Dial: n.Dial(c.from), Times: nodes.Quick}
		_, err := client.Run(t.Context(), c.to.Peer(), nodes.Offer(t, loop, nil, c.change), scheduler.Watch{})
		checkRejected(t, name, err, c.to, c.reason, c.says)
	}
	client := &remote.Client{Dial: n.Dial(friend.PeerID()), Times: nodes.Quick}
	if _, err := client.Run(t.Context(), other.PeerID(), nodes.Offer(t, loop, nil, nil), scheduler.Watch{}); remote.FailureOf(err) != remote.Unreachable {
		t.Errorf("a peer without an address: %v", err)
	}
	if _, err := client.Run(t.Context(), "nonsense", nodes.Offer(t, loop, nil, nil), scheduler.Watch{}); remote.FailureOf(err) != remote.Unreachable {
		t.Errorf("no peer id: %v", err)
	}
}

// The streams of one peer are counted, and the count goes down again.
func TestStreamsOfAPeerAreBounded(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", func(c *remote.Config, _ *scheduler.Limits) { c.PeerStreams = 2 })
	me := nodes.NewID(t).PeerID()
	client := &remote.Client{Dial: n.Dial(me), Times: nodes.Quick}
	var open []frame.Stream
	for range 2 {
		s, err := client.Dial(t.Context(), worker.Peer(), remote.JobProtocol)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	streams := func(want int) {
		t.Helper()
		if err := await.Until(t.Context(), func() bool { return worker.Server.Stats().Streams == want }); err != nil {
			t.Fatal(err)
		}
	}
	streams(2)
	hello := nodes.Says("hello", false)
	_, err := client.Run(t.Context(), worker.Peer(), nodes.Offer(t, hello, nil, nil), scheduler.Watch{})
	checkRejected(t, "a third stream", err, worker, scheduler.QueueFull, "2 streams")
	other := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	if _, err := other.Run(t.Context(), worker.Peer(), nodes.Offer(t, hello, nil, nil), scheduler.Watch{}); err != nil {
		t.Errorf("another peer: %v", err)
	}
	for _, s := range open {
		s.Reset()
	}
	streams(0)
	if _, err := client.Run(t.Context(), worker.Peer(), nodes.Offer(t, hello, nil, nil), scheduler.Watch{}); err != nil {
		t.Errorf("when they have ended: %v", err)
	}
}

// Anyone may ask a node what it can do, and believes what the node has signed.
func TestCapabilities(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "none", func(c *remote.Config, l *scheduler.Limits) { l.MemoryMB = 300 })
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	got, err := client.Record(t.Context(), worker.Peer())
	if err != nil {
		t.Fatal(err)
	}
	if got.MemoryMB != 300 || got.FreeMB != 300 || got.Accept != "none" || got.Arch != "x86_64" || got.Latency <= 0 {
		t.Errorf("%+v", got)
	}
	liar := nodes.NewID(t).PeerID()
	n.Redirect(liar, worker.Peer()) // answers with the record of another
	if _, err := client.Record(t.Context(), liar); remote.FailureOf(err) != remote.Lied {
		t.Errorf("another's record: %v", err)
	}
}
