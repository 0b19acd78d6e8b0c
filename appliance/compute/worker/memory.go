package worker

import (
	"phase/appliance/compute/wasm"
	"phase/appliance/compute/worker/protocol"
)

// charge is the limit of a worker's control group in bytes: its data, and what
// RLIMIT_DATA does not count, which is the program's own pages, page tables,
// what pipes and sockets hold, and the file in memory in which it hands over
// compiled code.
func charge(linear uint64, moduleSize int64) uint64 {
	const beside, code = 64 << 20, maxCode / wasm.MaxModule
	return protocol.Data(linear, moduleSize) + beside + code*uint64(moduleSize)
}

// maxCode is the most code in bytes that a module may be compiled to: what
// compilers make of code is about five times as large.
const maxCode = 16 * wasm.MaxModule
