package scheduler

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/worker"
)

func newPool(t *testing.T, c PoolConfig) *Pool {
	t.Helper()
	p := NewPool(c)
	t.Cleanup(p.Close)
	p.Warm()
	return p
}

// resting returns the process ids of those that wait for another task.
func (p *Pool) resting() (ids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.idle {
		ids = append(ids, r.PID())
	}
	return ids
}

func quiet(t Task) Task {
	t.Stdout, t.Stderr = io.Discard, io.Discard
	return t
}

// TestAProcessIsUsedAgainOnlyForTheSame: same requester, module and limits,
// and only after exited.
func TestAProcessIsUsedAgainOnlyForTheSame(t *testing.T) {
	module := assembled{memory: pages(1), bodies: [][]byte{nil}}.bytes()
	other := assembled{memory: pages(2), bodies: [][]byte{nil}}.bytes()
	trap := assembled{bodies: [][]byte{op(opUnreachable)}}.bytes()
	mine := func(change func(*Task)) Task {
		task := quiet(task(module))
		task.Requester = "me"
		if change != nil {
			change(&task)
		}
		return task
	}
	for _, c := range []struct {
		name          string
		first, second Task
		same          bool
	}{
		{"the same", mine(nil), mine(nil), true},
		{"other arguments", mine(nil), mine(func(t *Task) { t.Args = []string{"x", "y"} }), true},
		{"a non-zero exit code", mine(func(t *Task) {
			t.Module = modulecache.NewModule(assembled{imports: []string{"proc_exit"}, memory: pages(1), bodies: [][]byte{op(opConst, 3, opCall, 0)}}.bytes())
		}), mine(func(t *Task) {
			t.Module = modulecache.NewModule(assembled{imports: []string{"proc_exit"}, memory: pages(1), bodies: [][]byte{op(opConst, 3, opCall, 0)}}.bytes())
		}), true},
		{"another requester", mine(nil), mine(func(t *Task) { t.Requester = "you" }), false},
		{"another module", mine(nil), mine(func(t *Task) { t.Module = modulecache.NewModule(other) }), false},
		{"more memory", mine(nil), mine(func(t *Task) { t.MemoryMB++ }), false},
		{"with a folder", mine(func(task *Task) { task.Folders = []worker.Folder{{Host: t.TempDir(), Guest: "/d"}} }), mine(nil), false},
		{"after a trap", mine(func(t *Task) { t.Module = modulecache.NewModule(trap) }), mine(func(t *Task) { t.Module = modulecache.NewModule(trap) }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, PoolConfig{Idle: 4})
			if _, err := p.Run(t.Context(), c.first); err != nil {
				t.Fatal(err)
			}
			before := p.resting()
			if _, err := p.Run(t.Context(), c.second); err != nil {
				t.Fatal(err)
			}
			after := p.resting()
			same := len(before) == 1 && len(after) == 1 && after[0] == before[0]
			if same != c.same {
				t.Errorf("the processes were %v, and are %v", before, after)
			}
		})
	}
}

func TestNothingOfARunIsLeftForTheNext(t *testing.T) {
	p := newPool(t, PoolConfig{Idle: 1})
	// It traps if its memory is not as it was made, and then dirties it: load
	// the word at 64, if; store 1 there.
	dirty := assembled{memory: pages(1), bodies: [][]byte{op(
		opConst, 0xc0, 0, 0x28, 2, 0, 0x04, empty, opUnreachable, opEnd,
		opConst, 0xc0, 0, opConst, 1, 0x36, 2, 0)}}.bytes()
	for range 3 {
		result, err := p.Run(t.Context(), quiet(task(dirty)))
		if err != nil || result.Outcome != job.Exited {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	if len(p.resting()) != 1 {
		t.Errorf("the process was not used again")
	}
}

func TestProcessesRestSoLong(t *testing.T) {
	p := newPool(t, PoolConfig{Idle: 2, Rest: time.Millisecond})
	if _, err := p.Run(t.Context(), quiet(task(assembled{}.bytes()))); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); len(p.resting()) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the process is still kept")
		}
	}
}

func TestModulesAreCompiledOnce(t *testing.T) {
	dir := t.TempDir()
	module := probeTask(t).Module.Bytes()
	runs := func(times int) {
		cache, err := modulecache.Open(modulecache.Config{Keys: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		p := newPool(t, PoolConfig{Spare: 2, Cache: cache})
		var all sync.WaitGroup
		for range times {
			all.Go(func() {
				var out bytes.Buffer
				run := quiet(task(module, "args"))
				run.Stdout = &out
				if result, err := p.Run(t.Context(), run); err != nil || result.ExitCode != 0 || out.Len() == 0 {
					t.Errorf("%+v, %v", result, err)
				}
			})
		}
		all.Wait()
	}
	files := func() (names []string, info os.FileInfo) {
		names, err := filepath.Glob(filepath.Join(dir, "modules", "*"))
		if err != nil || len(names) != 1 {
			t.Fatalf("the cache holds %q, %v", names, err)
		}
		if info, err = os.Stat(names[0]); err != nil {
			t.Fatal(err)
		}
		return names, info
	}
	runs(3)
	names, first := files()
	runs(1)
	if _, second := files(); !os.SameFile(first, second) {
		t.Error("it was compiled again")
	}
	// Writing the folder is not enough to have other code run, or none.
	good, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	good[len(good)/2] ^= 0xff
	if err := os.WriteFile(names[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	runs(1)
	names, _ = files()
	if now, err := os.ReadFile(names[0]); err != nil || bytes.Equal(now, good) {
		t.Errorf("a file that was changed is still there: %v", err)
	}
}

// TestStaleCode: code for a processor that is not this one is made anew, and
// the module still gets all of its input.
func TestStaleCode(t *testing.T) {
	for _, input := range []string{"", "short", strings.Repeat("more than a pipe holds ", 10_000)} {
		staleCode(t, input)
	}
}

func staleCode(t *testing.T, input string) {
	t.Helper()
	cache, err := modulecache.Open(modulecache.Config{MemoryBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	p := newPool(t, PoolConfig{Cache: cache})
	cat := probeTask(t, "cat")
	var stdout, stderr bytes.Buffer
	cat.Stdin, cat.Stdout, cat.Stderr = strings.NewReader(input), &stdout, &stderr
	seal := func(data []byte) *sandbox.Sealed {
		s, err := sandbox.Seal("test", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	_, release, err := cache.Use(t.Context(), cat.Requester, cat.Module.Digest(), func() (*modulecache.Compiled, error) {
		return &modulecache.Compiled{Module: seal(cat.Module.Bytes()), Code: seal(bytes.Repeat([]byte("x"), 100))}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	release()
	if result, err := p.Run(t.Context(), cat); err != nil || result.Outcome != job.Exited || stdout.String() != input {
		t.Errorf("%d bytes in, %d out: %+v, %v", len(input), stdout.Len(), result, err)
	}
}

func TestWalls(t *testing.T) {
	p := newPool(t, PoolConfig{Spare: 1})
	walls, err := p.Walls(t.Context())
	if err != nil || len(walls) < 3 || walls[0] != "process" {
		t.Errorf("%q, %v", walls, err)
	}
	t.Log(walls)
}

func TestAPoolThatIsClosedLeavesNothing(t *testing.T) {
	before := children(t)
	p := newPool(t, PoolConfig{Spare: 2, Idle: 2})
	for range 3 {
		if _, err := p.Run(t.Context(), quiet(task(assembled{}.bytes()))); err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
	if after := children(t); after > before {
		t.Errorf("%d processes are left, there were %d", after, before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if result, err := p.Run(ctx, quiet(task(assembled{}.bytes()))); err != nil || result.Outcome != job.Cancelled {
		t.Errorf("cancelled before it began: %+v, %v", result, err)
	}
}
