package scheduler_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/journal"
	"phase/tests/await"
)

// never is an input that does not come: reading it waits until it is summed up.
type never struct{ done chan struct{} }

func (n never) Read([]byte) (int, error) {
	<-n.done
	return 0, io.EOF
}

func (n never) Sum() [sha256.Size]byte {
	close(n.done)
	return sha256.Sum256(nil)
}

const token = "0123456789abcdef0123456789abcdef"

// daemon is what a node has: a runner with a pool, behind the interface.
func daemon(tb testing.TB) (*scheduler.Runner, *httptest.Server) {
	tb.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	runner := scheduler.NewRunner(id)
	if runner.Pool, err = scheduler.OpenPool(modulecache.Config{}); err != nil {
		tb.Fatal(err)
	}
	runner.Pool.Warm()
	h, err := history.Open("", history.Limits{Runs: 1000, Bytes: 8 << 20, Nonces: 1000})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	all := scheduler.New(runner, h, scheduler.Limits{
		Cores: runtime.NumCPU(), MemoryMB: 64 << 10, Queue: 1000, PerRequester: 1000,
		TimeoutSec: 3600, OutputBytes: 1 << 30, HeldBytes: 1 << 30,
	}, time.Now)
	handler, err := api.Handler(api.Config{Runs: all, History: h, Log: journal.NewLog(io.Discard, time.Now)}, token)
	if err != nil {
		tb.Fatal(err)
	}
	return runner, httptest.NewServer(handler)
}

func offer(tb testing.TB, module []byte, change func(*job.Job)) scheduler.Offer {
	tb.Helper()
	j := job.Default(module)
	if change != nil {
		change(&j)
	}
	spec, err := job.New(j)
	if err != nil {
		tb.Fatal(err)
	}
	return scheduler.Offer{Requester: "somebody", Spec: spec, Module: modulecache.NewModule(module), Nonce: scheduler.NewNonce()}
}

// pings asks the interface every 10 ms until ctx ends, and returns how long
// each answer took, sorted.
func pings(ctx context.Context, t *testing.T, url string) (took []time.Duration) {
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			slices.Sort(took)
			return took
		}
		r, err := http.NewRequest(http.MethodGet, url+"/v1/ping", nil)
		if err != nil {
			t.Error(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		begin := time.Now()
		answer, err := client.Do(r)
		if err != nil {
			t.Errorf("ping: %v", err)
			continue
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		took = append(took, time.Since(begin))
	}
}

// TestHostileModulesLeaveTheDaemonAlone runs one hostile module after the
// other, one a core, and asks the daemon all the while.
func TestHostileModulesLeaveTheDaemonAlone(t *testing.T) {
	runs := 50
	switch {
	case os.Getenv("PHASE_TIER") == "all":
		runs = 1000
	case testing.Short():
		t.Skip("it takes half a minute")
	}
	runner, server := daemon(t)
	defer server.Close()
	modules := scheduler.HostileModules()
	slices.SortStableFunc(modules, func(a, b scheduler.Hostile) int { return strings.Compare(a.Name(), b.Name()) })
	next := make(chan scheduler.Hostile)
	round := func(runs int) {
		var all sync.WaitGroup
		for range runtime.NumCPU() {
			all.Go(func() {
				for h := range next {
					scheduler.Thrice(func(t *testing.T) error { return one(t, runner, h) })(t)
				}
			})
		}
		for i := range runs {
			next <- modules[i%len(modules)]
		}
		close(next)
		all.Wait()
	}
	// What is made once is made before things are counted.
	round(len(modules))
	before := measure(t, runner.Pool)
	scheduler.Thrice(func(t *testing.T) error {
		next = make(chan scheduler.Hostile)
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		var took []time.Duration
		asking.Go(func() { took = pings(ctx, t, server.URL) })
		round(runs)
		cancel()
		asking.Wait()
		p99 := took[len(took)*99/100]
		t.Logf("%d pings: median %v, 99 %% within %v, longest %v", len(took), took[len(took)/2], p99, took[len(took)-1])
		if p99 > scheduler.Patience(50*time.Millisecond) {
			return fmt.Errorf("99 %% of the pings were answered within %v", p99)
		}
		return nil
	})(t)
	server.CloseClientConnections()
	after := measure(t, runner.Pool)
	runtime.KeepAlive(modules) // which are counted before and after
	t.Logf("%d runs: from %+v to %+v", runs, before, after)
	if after.descriptors > before.descriptors+8 || after.children > before.children+2 || after.goroutines > before.goroutines+8 || after.heap > before.heap+16<<20 {
		t.Errorf("something leaks: from %+v to %+v", before, after)
	}
	runner.Pool.Close()
	if left := scheduler.Children(t); left > 0 {
		t.Errorf("%d processes are left", left)
	}
}

// one runs a module as a job; it is an error that it was late.
func one(t *testing.T, runner *scheduler.Runner, h scheduler.Hostile) error {
	limit := int64(1 << 20)
	o := offer(t, h.Module(), func(j *job.Job) {
		j.TimeoutSeconds, j.MemoryMB, j.OutputBytes = int(h.Limit().Seconds()), 64, &limit
	})
	o.Input = never{make(chan struct{})}
	done, err := runner.Execute(t.Context(), o)
	if err != nil {
		t.Errorf("%s: %v", h.Name(), err)
		return nil
	}
	if !h.May(done.Outcome) {
		t.Errorf("%s: %s %d: %s", h.Name(), done.Outcome, done.ExitCode, done.Detail)
	}
	if err := scheduler.OnTime(done.Started.Add(h.Limit()), done.Finished); err != nil {
		return fmt.Errorf("%s: %w", h.Name(), err)
	}
	return nil
}

type measured struct {
	descriptors, children, goroutines int
	heap                              uint64
}

// measure counts once what was killed is gone: nobody waits for its end, and
// the pool has its spare processes again.
func measure(t *testing.T, p *scheduler.Pool) measured {
	if err := await.Until(t.Context(), func() bool { return scheduler.Settled(p) }); err != nil {
		t.Errorf("processes that were killed are still there: %v", err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return measured{scheduler.Descriptors(t), scheduler.Children(t), runtime.NumGoroutine(), m.HeapAlloc}
}
