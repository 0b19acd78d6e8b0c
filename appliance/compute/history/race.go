//go:build race

package history

// checkMemory is what checking may have, in bytes, with the race detector.
const checkMemory = 4 << 30
