package wasm_test

import (
	"context"
	"fmt"
	"os"

	"phase/appliance/compute/wasm"
)

// hello is a module that writes a line to its standard output and ends with the
// code 3. Modules are built by compilers; this one is short enough to be read.
const hello = "\x00asm\x01\x00\x00\x00" +
	"\x01\x10\x03\x60\x00\x00\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x01\x7f\x00" + // types
	"\x02\x46\x02\x16wasi_snapshot_preview1\x08fd_write\x00\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x02" +
	"\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" + // one function, one page of memory
	"\x07\x13\x02\x06_start\x00\x02\x06memory\x02\x00" +
	"\x0a\x13\x01\x11\x00\x41\x01\x41\x00\x41\x01\x41\x20\x10\x00\x1a\x41\x03\x10\x01\x0b" +
	"\x0b\x14\x01\x00\x41\x00\x0b\x0e\x08\x00\x00\x00\x06\x00\x00\x00hello\n"

// A module is compiled once; its code is then loaded and run as often as need
// be.
func Example() {
	ctx, module := context.Background(), []byte(hello)
	code, err := wasm.Compile(ctx, module)
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := wasm.Load(ctx, module, code, 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	input, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer input.Close()
	end, err := machine.Run(ctx, wasm.Config{Args: []string{"hello"}, Stdin: input, Stdout: os.Stdout, Stderr: os.Stderr})
	fmt.Println(end.Outcome, end.Code, err)
	// Output:
	// hello
	// exited 3 <nil>
}

// What a module says of itself is read before anything of it is compiled.
func ExampleInspect() {
	info, err := wasm.Inspect([]byte(hello))
	fmt.Println(info.MemoryPages, err)
	_, err = wasm.Inspect([]byte("#!/bin/sh"))
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// not a WebAssembly module: it does not begin with \0asm
}
