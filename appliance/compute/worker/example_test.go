package worker_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/worker"
)

// One process compiles a module, another runs it; the program is started again
// as its worker, with inside.Main as the whole life of that process.
func Example() {
	ctx := context.Background()
	module, err := sandbox.Seal("module", strings.NewReader("\x00asm\x01\x00\x00\x00"))
	if err != nil {
		panic(err)
	}
	defer module.Close()
	compiler, err := worker.Start(ctx, nil, nil)
	if err != nil {
		panic(err)
	}
	code, _, err := compiler.Compile(ctx, module)
	compiler.End()
	if err != nil {
		panic(err)
	}
	defer code.Close()

	process, err := worker.Start(ctx, nil, nil)
	if err != nil {
		panic(err)
	}
	defer process.End()
	streams, err := worker.OpenStreams(nil, os.Stdout, os.Stderr, 1<<20)
	if err != nil {
		panic(err)
	}
	defer streams.Close()
	end, err := process.Run(ctx, worker.Run{
		Args: []string{"module.wasm"}, MemoryMB: 1, Cores: 1,
		Module: module, Code: code, Streams: streams,
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(end.Outcome, end.ExitCode, end.Reusable)
	// Output: exited 0 true
}
