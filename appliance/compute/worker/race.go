//go:build race

package worker

// What the race detector takes beside the program, measured on x86_64 as
// VmData: 310 MB at the start, and three times the heap.
const (
	detectorRoom   = 512 << 20 // bytes
	detectorFactor = 4
)
