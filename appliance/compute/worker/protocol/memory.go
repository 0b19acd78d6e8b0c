package protocol

import "phase/appliance/compute/sandbox"

// Overhead is what a worker needs beside the module's linear memory, in bytes,
// for a module of so many bytes. Measured on x86_64 as VmData: 108 MB with an
// empty module, 293 MB with the deepest recursion before wazero calls it a stack
// overflow, 62 bytes more for each byte of a module made to be costly. The
// scheduler's TestOverhead holds it to that; little of it is ever touched.
func Overhead(moduleSize int64) uint64 {
	const base, perByte = 320 << 20, 64
	return base + perByte*uint64(moduleSize)
}

// Data is the limit of a worker's RLIMIT_DATA in bytes, linear memory included.
func Data(linear uint64, moduleSize int64) uint64 {
	return linear + sandbox.WithDetector(Overhead(moduleSize))
}
