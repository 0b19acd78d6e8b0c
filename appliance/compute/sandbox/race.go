//go:build race

package sandbox

// WithDetector is the memory in bytes that a program needs which needs so many
// without the race detector. Measured on x86_64 as VmData: the detector takes
// 310 MB at the start, and three times the heap.
func WithDetector(bytes uint64) uint64 { return 512<<20 + 4*bytes }
