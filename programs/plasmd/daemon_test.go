package plasmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
)

// leastModule does nothing.
var leastModule = []byte("\x00asm\x01\x00\x00\x00")

// loopModule never ends.
var loopModule = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")

// process is a daemon in a process of its own, as it is on a laptop.
type process struct {
	cmd    *exec.Cmd
	client *api.Client
	socket string
	ended  chan error
	said   *console
}

// daemon starts this binary as plasmd, with what it keeps in dir and more flags;
// without those of the network it has none.
func daemon(t *testing.T, dir string, more ...string) *process {
	t.Helper()
	config := filepath.Join(dir, "plasmd.toml")
	if err := os.WriteFile(config, []byte("[history]\nruns = 100000\nsize_mb = 1024\n[network]\nmode = \"off\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemonWith(t, dir, nil, append([]string{"--config", config}, more...)...)
}

// daemonWith is daemon with a configuration that its flags name, and with open files,
// from descriptor 3 on.
func daemonWith(t *testing.T, dir string, files []*os.File, more ...string) *process {
	t.Helper()
	p := &process{socket: filepath.Join(dir, "plasmd.sock"), ended: make(chan error, 1), said: newConsole()}
	p.cmd = exec.Command(os.Args[0], "start", "--socket", p.socket, "--data", filepath.Join(dir, "data"), "--state", dir)
	p.cmd.Args = append(p.cmd.Args, more...)
	p.cmd.ExtraFiles = files
	p.cmd.Env = append(os.Environ(), asDaemon+"=1")
	p.cmd.Stderr = p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.ended <- p.cmd.Wait()
		p.said.close()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.said.wait(t, `^listening on .*$`)
	p.client = api.NewClient(p.socket)
	return p
}

// stop ends it as an administrator does.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.terminate(t)
	p.wait(t)
}

func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func (p *process) wait(t *testing.T) {
	t.Helper()
	if err := <-p.ended; err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func (p *process) pin(t *testing.T) receipt.Pin {
	t.Helper()
	node, err := p.client.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.ParsePeerID(node.PeerID)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Pin{PeerID: node.PeerID, Key: key}
}

func smallOffer(t *testing.T, module []byte) scheduler.Offer {
	t.Helper()
	j := job.Default(module)
	j.MemoryMB = 1
	spec, err := job.New(j)
	if err != nil {
		t.Fatal(err)
	}
	return scheduler.Offer{Spec: spec, Module: modulecache.NewModule(module), Nonce: scheduler.NewNonce()}
}

// The daemon is killed in the middle: every receipt that was handed out is
// still there, no run is called done that has none, and no offer runs again.
func TestKilledInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	type handed struct {
		offer scheduler.Offer
		done  scheduler.Done
	}
	var mu sync.Mutex
	var all []handed
	for round := range 3 {
		p := daemon(t, dir)
		var clients sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for range 8 {
			clients.Go(func() {
				for {
					o := smallOffer(t, leastModule)
					done, err := p.client.Execute(context.Background(), o)
					if err != nil {
						return // it is dead
					}
					mu.Lock()
					all = append(all, handed{o, done})
					if len(all) >= 60*(round+1) {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			})
		}
		gone := make(chan struct{})
		go func() {
			clients.Wait()
			close(gone)
		}()
		select {
		case <-enough:
		case <-gone:
			t.Fatal("no client is left, and the daemon was not killed")
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.ended
		<-gone
	}
	p := daemon(t, dir)
	defer p.stop(t)
	pin := p.pin(t)
	for _, h := range all {
		d, err := p.client.Job(t.Context(), h.done.RunID)
		if err != nil || d.State != history.Done || !bytes.Equal(d.Receipt, h.done.Receipt) {
			t.Fatalf("the receipt of %s was handed out and is not there: %+v, %v", h.done.RunID, d.Run, err)
		}
	}
	states := map[history.State]int{}
	for before := ""; ; {
		page, err := p.client.Jobs(t.Context(), before, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range page.Jobs {
			states[run.State]++
			d, err := p.client.Job(t.Context(), run.RunID)
			if err != nil {
				t.Fatal(err)
			}
			if run.State != history.Done {
				continue
			}
			if s, err := receipt.Verify(d.Receipt, pin); err != nil || s.Predicate.RunID != run.RunID {
				t.Errorf("%s is called done: %v", run.RunID, err)
			}
		}
		if page.Next == nil {
			break
		}
		before = *page.Next
	}
	if states[history.Queued]+states[history.Running] > 0 || states[history.Done] < len(all) {
		t.Errorf("%d receipts were handed out; runs are %v", len(all), states)
	}
	var refused *api.Refused
	if _, err := p.client.Execute(t.Context(), all[0].offer); !errors.As(err, &refused) || refused.Code != string(scheduler.InvalidRequest) {
		t.Errorf("an offer of before: %v", err)
	}
}

// A terminal that is closed ends the daemon as an administrator does.
func TestHangUp(t *testing.T) {
	// Where this test was started to survive one, the daemon would be, too.
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	p := daemon(t, t.TempDir())
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err != nil {
		t.Errorf("after SIGHUP: %v", err)
	}
	if _, err := os.Lstat(p.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket is still there: %v", err)
	}
}

// resident is how much memory a process has, in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	kib := regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(text)
	n, err := strconv.ParseInt(string(kib[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// Many jobs in a row from many clients at once: none is lost, nor its receipt,
// and the daemon's memory does not grow with their number.
func TestSoak(t *testing.T) {
	jobs, clients := int64(400), 16
	if os.Getenv("PHASE_TIER") == "all" {
		jobs, clients = 10_000, 64
	}
	p := daemon(t, t.TempDir())
	pin := p.pin(t)
	var next atomic.Int64
	var middle atomic.Int64
	var all sync.WaitGroup
	for range clients {
		client := api.NewClient(p.socket)
		all.Go(func() {
			for n := next.Add(1); n <= jobs; n = next.Add(1) {
				o := smallOffer(t, leastModule)
				done, err := client.Execute(t.Context(), o)
				if err == nil {
					err = done.Verify(o, pin)
				}
				if err != nil {
					t.Errorf("job %d: %v", n, err)
				}
				if n == jobs/2 {
					middle.Store(resident(t, p.cmd.Process.Pid))
				}
			}
		})
	}
	all.Wait()
	end := resident(t, p.cmd.Process.Pid)
	const mayGrow = 48 << 20 // the pages of the history it has just written
	if end > middle.Load()+mayGrow {
		t.Errorf("memory grew from %d MiB in the middle to %d MiB", middle.Load()>>20, end>>20)
	}
	t.Logf("%d jobs of %d clients: %d MiB in the middle, %d MiB at the end", jobs, clients, middle.Load()>>20, end>>20)
	count := int64(0)
	for before := ""; ; {
		page, err := p.client.Jobs(t.Context(), before, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range page.Jobs {
			if run.State == history.Done {
				count++
			}
		}
		if page.Next == nil {
			break
		}
		before = *page.Next
	}
	if count != jobs {
		t.Errorf("%d runs are remembered as done, %d were", count, jobs)
	}
	p.stop(t)
}

// SIGTERM lets a job end in its time and then cancels it; a client that waits gets
// the receipt of that, and whoever asks over HTTP is answered meanwhile.
func TestDrain(t *testing.T) {
	dir := t.TempDir()
	p := daemon(t, dir, "--http", "127.0.0.1:0")
	url := "http://" + p.said.wait(t, serving)
	pin := p.pin(t)
	o := smallOffer(t, loopModule)
	ended := make(chan error, 1)
	var done scheduler.Done
	go func() {
		var err error
		done, err = p.client.Execute(context.Background(), o)
		ended <- err
	}()
	for running := false; !running; { // an answer at a time, not a sleep
		node, err := p.client.Node(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		running = node.Running > 0
	}
	p.terminate(t)
	for begun := false; !begun; { // the socket goes at once
		_, err := p.client.Node(t.Context())
		begun = err != nil
	}
	if code, _ := get(t, url+"/"); code != 200 {
		t.Errorf("while the job drains / is answered %d", code)
	}
	p.wait(t)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := done.Verify(o, pin); err != nil || done.Outcome != job.Cancelled {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := os.Stat(p.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
