//go:build !race

package history

// checkMemory is what checking may have, in bytes.
const checkMemory = 512 << 20
