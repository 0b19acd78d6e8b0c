//go:build race

package scheduler

// slower is how much longer things may take under the race detector.
const slower = 10
