package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/wasm"
)

// build compiles one of our programs for wasip1, or for this machine.
func build(b *testing.B, folder, goos string) (name string) {
	b.Helper()
	name = filepath.Join(b.TempDir(), filepath.Base(folder))
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", name, folder)
	if cmd.Env = os.Environ(); goos == "wasip1" {
		cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("building %s: %v: %s", folder, err, out)
	}
	return name
}

func module(b *testing.B, folder string) []byte {
	b.Helper()
	text, err := os.ReadFile(build(b, folder, "wasip1"))
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// trivial has one page of memory and returns at once.
var trivial = []byte("\x00asm\x01\x00\x00\x00" + // header
	"\x01\x04\x01\x60\x00\x00" + // a type: nothing to nothing
	"\x03\x02\x01\x00" + // a function of that type
	"\x05\x03\x01\x00\x01" + // a memory of one page
	"\x07\x0a\x01\x06_start\x00\x00" + // exported
	"\x0a\x04\x01\x02\x00\x0b") // which ends

func hello(module []byte, requester string) scheduler.Task {
	return scheduler.Task{
		Requester: requester, Module: modulecache.NewModule(module), Args: []string{"hello"}, MemoryMB: 64, Timeout: time.Minute, Cores: 1,
		Stdin: strings.NewReader("hello"), Stdout: io.Discard, Stderr: io.Discard,
	}
}

// BenchmarkCompile compiles a module of Go, and fetches its code from the disk,
// alone and as a whole run of plasmd without a daemon.
func BenchmarkCompile(b *testing.B) {
	text := module(b, "phase/examples/hello")
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			if _, err := wasm.Compile(b.Context(), text); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(text))/1e6, "module-MB")
	})
	dir := b.TempDir()
	whole := func(b *testing.B, kept modulecache.Config) {
		for b.Loop() {
			cache, err := modulecache.Open(kept)
			if err != nil {
				b.Fatal(err)
			}
			pool := scheduler.NewPool(scheduler.PoolConfig{Cache: cache})
			if _, err := pool.Run(b.Context(), hello(text, "")); err != nil {
				b.Fatal(err)
			}
			pool.Close()
		}
	}
	b.Run("run-cold", func(b *testing.B) { whole(b, modulecache.Config{}) })
	b.Run("fill", func(b *testing.B) { whole(b, modulecache.Config{Keys: dir}) })
	b.Run("run-cached", func(b *testing.B) { whole(b, modulecache.Config{Keys: dir}) })
}

// request makes a job as a requester posts it, again and again, with its module
// or by the digest alone.
func request(b *testing.B, url string, module []byte, withModule bool) func() *http.Request {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	parts := map[string][]byte{"job": offer(b, module, nil).Spec.File(), "stdin": []byte("hello")}
	if withModule {
		parts["module"] = module
	}
	for name, data := range parts {
		part, err := form.CreateFormFile(name, name)
		if err == nil {
			_, err = part.Write(data)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		b.Fatal(err)
	}
	return func() *http.Request {
		r, err := http.NewRequest(http.MethodPost, url+"/v1/jobs", bytes.NewReader(body.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", form.FormDataContentType())
		return r
	}
}

func send(b *testing.B, r *http.Request) {
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || answer.StatusCode != http.StatusOK {
		b.Fatalf("%s: %v: %s", answer.Status, err, text)
	}
}

// BenchmarkHello posts the same job to a daemon, one after the other: module or
// its digest, input, run and receipt.
func BenchmarkHello(b *testing.B) {
	text := module(b, "phase/examples/hello")
	slog.SetDefault(slog.New(slog.DiscardHandler))
	runner, server := daemon(b)
	defer runner.Pool.Close()
	defer server.Close()
	send(b, request(b, server.URL, text, true)())
	for name, withModule := range map[string]bool{"with-module": true, "by-digest": false} {
		b.Run(name, func(b *testing.B) {
			next := request(b, server.URL, text, withModule)
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				send(b, next())
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
		})
	}
}

// BenchmarkSigned has two requesters send the least module there is, each the
// next when it has the receipt.
func BenchmarkSigned(b *testing.B) {
	for name, fresh := range map[string]bool{"kept-process": false, "fresh-process": true} {
		b.Run(name, func(b *testing.B) {
			runner, server := daemon(b)
			defer runner.Pool.Close()
			defer server.Close()
			var next atomic.Int64
			var all sync.WaitGroup
			begin := time.Now()
			for range 2 {
				all.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						o := offer(b, trivial, func(j *job.Job) {
							if j.MemoryMB = 1; fresh { // a process is kept for jobs of the same limits
								j.MemoryMB += int(n % 1000)
							}
						})
						if done, err := runner.Execute(b.Context(), o); err != nil || done.Outcome != job.Exited {
							b.Error(done, err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "jobs/s")
		})
	}
}

// BenchmarkCPU compares the same work natively, under wazero without a switch
// to interrupt it, and as a task. Of several turns the shortest counts.
func BenchmarkCPU(b *testing.B) {
	native, text := build(b, "phase/tests/guests/cpu", ""), module(b, "phase/tests/guests/cpu")
	if keep := os.Getenv("PHASE_MODULES"); keep != "" { // for the bench of wasmtime
		if err := os.WriteFile(filepath.Join(keep, "cpu.wasm"), text, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	pool := scheduler.NewPool(scheduler.PoolConfig{Spare: 1, Idle: 1})
	defer pool.Close()
	pool.Warm()
	bare := bareWazero(b, text)
	for _, problem := range []string{"sha256", "floats", "sort", "sieve"} {
		b.Run(problem, func(b *testing.B) {
			var best, cpu [3]time.Duration
			turn := func(which int, run func() error) {
				begin, used := time.Now(), cpuTime(b, pool)
				if err := run(); err != nil {
					b.Fatal(err)
				}
				if took := time.Since(begin); best[which] == 0 || took < best[which] {
					best[which] = took
				}
				if took := cpuTime(b, pool) - used; cpu[which] == 0 || took < cpu[which] {
					cpu[which] = took
				}
			}
			task := func() error {
				t := hello(text, "")
				t.Args, t.MemoryMB = []string{"cpu", problem}, 256
				result, err := pool.Run(b.Context(), t)
				if err == nil && result.ExitCode != 0 {
					err = fmt.Errorf("%+v", result)
				}
				return err
			}
			if err := task(); err != nil { // now there is a process that is kept
				b.Fatal(err)
			}
			for b.Loop() {
				turn(0, func() error { return exec.Command(native, problem).Run() })
				turn(1, func() error { return bare(problem) })
				turn(2, task)
			}
			for i, name := range []string{"native-ms", "wazero-ms", "phase-ms"} {
				b.ReportMetric(float64(best[i].Microseconds())/1e3, name)
			}
			b.ReportMetric(100*(float64(best[2])/float64(best[1])-1), "overhead-%")
			// Of processor time, which says more on a machine that is not idle.
			b.ReportMetric(100*(float64(cpu[2])/float64(cpu[1])-1), "cpu-overhead-%")
		})
	}
}

// cpuTime is what this process and the workers that rest have used: of a turn,
// what it took, as the same processes rest before and after.
func cpuTime(b *testing.B, pool *scheduler.Pool) (total time.Duration) {
	for _, id := range append(scheduler.Resting(pool), os.Getpid()) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", id))
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range threads {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // the thread has ended
			}
			var running int64
			if _, err := fmt.Sscan(string(text), &running); err != nil {
				b.Fatal(err)
			}
			total += time.Duration(running)
		}
	}
	return total
}

// bareWazero runs a module in this process, as wazero's documentation has it.
func bareWazero(b *testing.B, module []byte) func(problem string) error {
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	b.Cleanup(func() { r.Close(ctx) })
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		b.Fatal(err)
	}
	compiled, err := r.CompileModule(ctx, module)
	if err != nil {
		b.Fatal(err)
	}
	return func(problem string) error {
		instance, err := r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithArgs("cpu", problem).
			WithSysWalltime().WithSysNanotime().WithSysNanosleep())
		if err != nil && !strings.Contains(err.Error(), "exit_code(0)") {
			return err
		}
		if instance != nil {
			return instance.Close(ctx)
		}
		return nil
	}
}
