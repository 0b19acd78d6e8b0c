package sandbox_test

import (
	"fmt"
	"strings"

	"phase/appliance/compute/sandbox"
)

// A message between a node and its worker can carry files in memory, which
// nobody can change any more.
func ExampleChannel() {
	node, file, err := sandbox.NewChannel() // the file goes to the worker
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	worker, err := sandbox.OpenChannel(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer worker.Close()
	module, err := sandbox.Seal("module", strings.NewReader("a module"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer module.Close()
	if err := node.Send([]byte("run this"), module.File()); err != nil {
		fmt.Println(err)
		return
	}

	text, files, err := worker.Receive(100, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := sandbox.Received(files[0]) // refuses a file that could still change
	if err != nil {
		fmt.Println(err)
		return
	}
	bytes, err := got.MapForever()
	fmt.Printf("%s: %s, %v\n", text, bytes, err)
	// Output: run this: a module, <nil>
}

// Memory that was reserved costs nothing until it is used, and grows in place.
func ExampleMemory() {
	memory, err := sandbox.Reserve(1 << 30)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer memory.Free()
	memory.Grow(64 << 10)[0] = 7
	more := memory.Grow(128 << 10)
	fmt.Println(len(more), more[0], memory.Grow(2<<30) == nil)
	// Output: 131072 7 true
}
