package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// Compile compiles a module and returns its code, for Load. Nothing of the
// module runs. The error wraps ErrMemory when this process has reached its
// memory limit.
func Compile(ctx context.Context, module []byte) (compiled []byte, err error) {
	defer outOfMemory(&err)
	if _, err := Inspect(module); err != nil {
		return nil, err
	}
	if err := checkImports(module); err != nil {
		return nil, err
	}
	c := &code{}
	r, err := prepare(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), module, maxPages, c)
	if err != nil {
		return nil, err
	}
	if err := checkSignatures(r.compiled.ImportedFunctions()); err != nil {
		return nil, err
	}
	if c.made == nil {
		return nil, errors.New("compiling the module: the compiler did not hand out its code")
	}
	return c.made, r.runtime.Close(ctx)
}

// maxPages is all the memory a module can have: Load holds it to less.
const maxPages = 1 << 16

// program is a module that is compiled, in a runtime of its own.
type program struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

// prepare makes a runtime with WASI and compiles the module in it.
func prepare(ctx context.Context, module []byte, pages uint32, c *code) (program, error) {
	cache, err := c.cache()
	if err != nil {
		return program{}, err
	}
	config := wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features).WithMemoryLimitPages(pages).
		WithCompilationCache(cache).WithDebugInfoEnabled(false) // line numbers are not worth parsing a stranger's DWARF
	r := wazero.NewRuntimeWithConfig(ctx, config)
	wasi, err := builder(r).Compile(ctx)
	if err != nil {
		return program{}, fmt.Errorf("preparing WASI: %w", err)
	}
	if _, err := r.InstantiateModule(ctx, wasi, wazero.NewModuleConfig()); err != nil {
		return program{}, fmt.Errorf("preparing WASI: %w", err)
	}
	compiled, err := r.CompileModule(ctx, prepared(module))
	if c.missed {
		return program{}, ErrStale
	}
	if err != nil {
		return program{}, fmt.Errorf("compiling the module: %w", err)
	}
	return program{r, compiled}, nil
}
