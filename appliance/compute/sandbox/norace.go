//go:build !race

package sandbox

// WithDetector is the memory in bytes that a program needs which needs so many
// without the race detector: just those, in a build without it.
func WithDetector(bytes uint64) uint64 { return bytes }
