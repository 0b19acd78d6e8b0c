// Package benchwasmtime runs the modules of the job benches under wasmtime, to
// be read beside them. PHASE_MODULES is the folder with cpu.wasm.
package benchwasmtime

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bytecodealliance/wasmtime-go/v39"
)

// BenchmarkCPU runs each problem; of several turns the shortest counts.
func BenchmarkCPU(b *testing.B) {
	dir := os.Getenv("PHASE_MODULES")
	if dir == "" {
		b.Skip("PHASE_MODULES names no folder; make bench-jobs sets it")
	}
	engine := wasmtime.NewEngine()
	begin := time.Now()
	module, err := wasmtime.NewModuleFromFile(engine, filepath.Join(dir, "cpu.wasm"))
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("compiled in %v", time.Since(begin))
	linker := wasmtime.NewLinker(engine)
	if err := linker.DefineWasi(); err != nil {
		b.Fatal(err)
	}
	for _, problem := range []string{"sha256", "floats", "sort", "sieve"} {
		b.Run(problem, func(b *testing.B) {
			var best time.Duration
			for b.Loop() {
				begin := time.Now()
				run(b, engine, linker, module, problem)
				if took := time.Since(begin); best == 0 || took < best {
					best = took
				}
			}
			b.ReportMetric(float64(best.Microseconds())/1e3, "wasmtime-ms")
		})
	}
}

func run(b *testing.B, engine *wasmtime.Engine, linker *wasmtime.Linker, module *wasmtime.Module, problem string) {
	store := wasmtime.NewStore(engine)
	defer store.Close()
	config := wasmtime.NewWasiConfig()
	config.SetArgv([]string{"cpu", problem})
	store.SetWasi(config)
	instance, err := linker.Instantiate(store, module)
	if err != nil {
		b.Fatal(err)
	}
	_, err = instance.GetFunc(store, "_start").Call(store)
	if trapped, ok := err.(*wasmtime.Error); ok {
		if code, exited := trapped.ExitStatus(); exited && code == 0 {
			return
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}
