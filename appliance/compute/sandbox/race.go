//go:build race

package sandbox

// detectorRoom is what the race detector takes beside the program, in bytes:
// 270 MiB, and two and a half times the heap, as VmData on x86_64.
const detectorRoom = 2 << 30
