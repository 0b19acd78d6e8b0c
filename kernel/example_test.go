package kernel_test

import (
	"fmt"

	"phase/kernel"
)

func ExampleFor() {
	k, err := kernel.For("x86_64")
	fmt.Println(k.Module, err)
	fmt.Println(k.ConsoleArgs())
	_, err = kernel.For("riscv64")
	fmt.Println(err)
	// Output:
	// github.com/gokrazy/kernel.amd64 <nil>
	// console=tty0 console=ttyS0,115200
	// no kernel for riscv64
}
