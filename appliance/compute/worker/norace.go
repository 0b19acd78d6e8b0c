//go:build !race

package worker

// Without the race detector a limit is what it says.
const (
	detectorRoom   = 0
	detectorFactor = 1
)
