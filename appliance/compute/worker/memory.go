package worker

import (
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/wasm"
)

// overhead is what a worker needs beside the module's linear memory, in bytes,
// for a module of so many bytes. Measured on x86_64 as VmData: 108 MB with an
// empty module, 293 MB with the deepest recursion before wazero calls it a stack
// overflow, 62 bytes more for each byte of a module made to be costly. The
// scheduler's TestOverhead holds it to that; little of it is ever touched.
func overhead(moduleSize int64) uint64 {
	const base, perByte = 320 << 20, 64
	return base + perByte*uint64(moduleSize)
}

// data is the limit of a worker's RLIMIT_DATA in bytes, linear memory included.
func data(linear uint64, moduleSize int64) uint64 {
	return linear + sandbox.WithDetector(overhead(moduleSize))
}

// charge is the limit of a worker's control group in bytes: its data, and what
// RLIMIT_DATA does not count, which is the program's own pages, page tables,
// what pipes and sockets hold, and the file in memory in which it hands over
// compiled code.
func charge(linear uint64, moduleSize int64) uint64 {
	const beside, code = 64 << 20, maxCode / wasm.MaxModule
	return data(linear, moduleSize) + beside + code*uint64(moduleSize)
}

// maxCode is the most code in bytes that a module may be compiled to: what
// compilers make of code is about five times as large.
const maxCode = 16 * wasm.MaxModule
