// Command benchmemory finds the least memory in which the loop works (find a
// release, fetch it, jump into it, serve it again), for a machine with a disk
// and for one without, by bisection in steps of 32 MiB. It prints what it found
// beside the project's aims, and how the machine fails with one step less:
// it ought to refuse in words.
package main

import "phase/appliance/base/program"

func main() { program.Main("benchmemory", run) }
