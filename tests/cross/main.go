// Command cross runs the same jobs on an x86_64 and on an arm64 machine and
// shows that they return the same bytes, by the digests both nodes signed.
package main

import "phase/appliance/base/program"

func main() { program.Main("cross", run) }
