package attacks

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"phase/tests/hostile"
	"phase/tests/netlab"
)

const (
	// pace is what the honest provider sends, in bytes a second: so slow that a
	// download takes seconds, as over a network.
	pace = 2 << 20
	// stuckFor is the longest that one who sends nothing worth waiting for may
	// hold a connection of the node.
	stuckFor = 10 * time.Second
)

// hostileTwenty are the hostile ones of class 10: how often each kind is there.
var hostileTwenty = map[string]int{
	"endless-body": 2, "drips-body": 2, "artifacts-drip": 2, "zeros": 3, "error-500": 2, "artifacts-500": 1, "silent": 2,
	"artifacts-silent": 2, "resets": 1, "rollback": 1, "unknown-keys": 2,
}

// crowdRows have one honest provider among twenty hostile ones (class 10), who
// were named before it.
func crowdRows(t *testing.T, m *matrix) {
	netlab.NeedRoot(t)
	p := newProject(t)
	large := p.Release(t, "stable", p.made.Running.Arch, nextVersion, map[string]int{"kernel": 3 << 20, "initramfs": 1 << 20, "rootfs": 12 << 20})
	p.made.Next = open(large)
	m.try(t, "update", row{10, "one-among-twenty", "one honest provider among 20 hostile ones, in figures", p.oneAmongTwenty})
}

func (p *project) oneAmongTwenty(t *testing.T) (string, bool) {
	alone := p.taken(t, nil)
	var all []hostile.Provider
	for _, h := range hostile.All(t, p.made) {
		for range hostileTwenty[h.Name] {
			all = append(all, h)
		}
	}
	among := p.taken(t, all)
	var payload int64
	for _, data := range p.made.Next.Artifacts {
		payload += int64(len(data))
	}
	said := fmt.Sprintf("%d hostile: %.1f s, alone %.1f s (%.1f x); stuck for %.1f s at most; %d bytes wasted of a payload of %d",
		len(all), among.took.Seconds(), alone.took.Seconds(), among.took.Seconds()/alone.took.Seconds(), among.stuck.Seconds(), among.wasted, payload)
	t.Log(said)
	return said, len(all) == 20 && among.stuck <= stuckFor && among.wasted <= payload
}

// taking is what it cost a node to take a release.
type taking struct {
	took  time.Duration // from the first look to the last byte
	stuck time.Duration // the longest that a hostile one was waited for
	// wasted are the bytes of artifacts that came and were not used.
	wasted int64
}

// taken has a node take the next release from an honest provider, whose line is
// slow, among hostile ones.
func (p *project) taken(t *testing.T, among []hostile.Provider) taking {
	t.Helper()
	wire := netlab.NewSwitch(t, "segment", netlab.Wire{})
	others := netlab.NewMachine(t, "others")
	wire.Join(t, others, "eth0", strangerAddress+"/24")
	meter := &meter{}
	var urls []string
	for _, h := range among {
		urls = append(urls, serve(t, &metered{on(t, others, strangerAddress), meter}, h.Serve))
	}
	urls = append(urls, serve(t, on(t, others, strangerAddress), paced(p.made.Next, pace)))
	n := newNode(t, p, urls...)
	wire.Join(t, n.Machine, "eth0", nodeAddress+"/24")
	n.Start(t)
	n.Update.AwaitText(t, "looking for a release newer than")
	began := time.Now()
	n.Update.AwaitText(t, fmt.Sprintf("fetched and verified version %d", nextVersion))
	got := taking{took: time.Since(began)}
	// What came in vain is said before it goes on to load the kernel, which here
	// it cannot.
	line := n.Update.Await(t, "bytes in vain, or none", func(line string) bool {
		return has(line, " bytes came in vain") || has(line, "was not taken")
	})
	if _, err := fmt.Sscanf(line, "%d bytes", &got.wasted); err != nil && has(line, "in vain") {
		t.Fatal(line, err)
	}
	meter.mu.Lock()
	defer meter.mu.Unlock()
	got.stuck = meter.stuck
	return got
}

// paced answers as an honest provider does whose line carries so many bytes a
// second, over all connections.
func paced(r hostile.Release, rate int) hostile.Serve {
	line := make(chan struct{}, 1)
	return hostile.HTTP(func(w http.ResponseWriter, q *http.Request) {
		r.Answer(&pacedWriter{w, rate, line}, q)
	})
}

type pacedWriter struct {
	http.ResponseWriter
	rate int
	line chan struct{} // held by who sends
}

func (w *pacedWriter) Write(p []byte) (n int, err error) {
	const piece = 64 << 10
	for err == nil && n < len(p) {
		w.line <- struct{}{}
		tick := time.NewTimer(time.Second * piece / time.Duration(w.rate))
		var sent int
		sent, err = w.ResponseWriter.Write(p[n:min(n+piece, len(p))])
		n += sent
		<-tick.C
		<-w.line
	}
	return n, err
}

// meter measures the connections to hostile providers.
type meter struct {
	mu    sync.Mutex
	stuck time.Duration
}

// metered is a listener with a meter on each connection.
type metered struct {
	net.Listener
	meter *meter
}

func (m *metered) Accept() (net.Conn, error) {
	c, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &meteredConn{Conn: c, meter: m.meter, began: time.Now()}, nil
}

// meteredConn has one request, and is closed by its provider once that is
// answered. One that the node closes before was stuck for so long.
type meteredConn struct {
	net.Conn
	meter *meter
	began time.Time
	once  sync.Once
}

func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.note(err)
	return n, err
}

func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.note(err)
	return n, err
}

func (c *meteredConn) note(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return
	}
	c.once.Do(func() {
		c.meter.mu.Lock()
		defer c.meter.mu.Unlock()
		c.meter.stuck = max(c.meter.stuck, time.Since(c.began))
	})
}
