//go:build !race

package sandbox

const detectorRoom = 0 // bytes: there is no race detector in this build
