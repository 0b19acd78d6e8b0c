package scheduler

import (
	"context"
	"path/filepath"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
)

// work is what a run cost: processes started, and modules compiled.
type work struct{ started, compiled int64 }

// TestASecondRequesterStartsCold: a module that is warm for one requester, in
// memory, on disk and in a process, is as cold for the next as it was at first.
func TestASecondRequesterStartsCold(t *testing.T) {
	dir := t.TempDir()
	module := assembled{memory: pages(1), bodies: [][]byte{nil}}.bytes()
	restart := func() (run func(requester string) work, end func()) {
		cache, err := modulecache.Open(modulecache.Config{Keys: dir})
		if err != nil {
			t.Fatal(err)
		}
		p := newPool(t, PoolConfig{Idle: 4, Cache: cache})
		return func(requester string) work {
			t.Helper()
			before := work{p.started.Load(), p.compiled.Load()}
			mine := quiet(task(module))
			mine.Requester = requester
			if result, err := p.Run(t.Context(), mine); err != nil || result.Outcome != job.Exited {
				t.Fatalf("%+v, %v", result, err)
			}
			return work{p.started.Load() - before.started, p.compiled.Load() - before.compiled}
		}, cache.Close
	}
	run, end := restart()
	cold, warm := work{2, 1}, work{}
	for _, c := range []struct {
		requester string
		want      work
	}{{"token", cold}, {"token", warm}, {"uid 1000", cold}, {"uid 1000", warm}, {"token", warm}, {"uid 1001", cold}} {
		if got := run(c.requester); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.requester, got, c.want)
		}
	}
	end()
	if files, err := filepath.Glob(filepath.Join(dir, "modules", "*")); err != nil || len(files) != 3 {
		t.Errorf("three requesters' modules are in %q, %v", files, err)
	}
	run, end = restart()
	defer end()
	for requester, want := range map[string]work{"token": {1, 0}, "uid 1001": {1, 0}, "uid 1002": cold} {
		if got := run(requester); got != want {
			t.Errorf("%s, after a restart: %+v, want %+v", requester, got, want)
		}
	}
}

// TestAJobIsInspectedOnce: once a job is accepted, its digest stands for it.
// Where anything between the door and the receipt looked at the bytes again, it
// would find others.
func TestAJobIsInspectedOnce(t *testing.T) {
	s, pin := node(t, wide)
	var err error
	if s.runner.Pool, err = OpenPool(modulecache.Config{}); err != nil {
		t.Fatal(err)
	}
	defer s.runner.Pool.Close()
	good := assembled{memory: pages(1), bodies: [][]byte{nil}}.bytes()
	send := func(w func(module []byte) Watch) Done {
		t.Helper()
		p := enter(t, s, "somebody")
		defer p.Leave()
		module := append([]byte(nil), good...)
		o := offer(t, module, nil)
		done, err := p.Execute(context.WithoutCancel(t.Context()), o, w(module))
		if err != nil {
			t.Fatal(err)
		}
		statement, err := receipt.Verify(done.Receipt, pin)
		if err != nil || done.Outcome != job.Exited || statement.Predicate.ModuleHash != job.Hash(good) || statement.CheckJob(o.Spec) != nil {
			t.Errorf("%+v: %v", statement.Predicate, err)
		}
		return done
	}
	send(func([]byte) Watch { return Watch{} }) // compiled, and held from now on
	send(func(module []byte) Watch {
		return Watch{Accepted: func(_, _ string) { clear(module) }}
	})
}
