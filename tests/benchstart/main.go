// Command benchstart measures what starting a program and a worker costs, and how
// many jobs a second a daemon runs when each has a process of its own: with the
// worker's own program, and where the one binary is its own worker. Both in one
// run, in turns. It prints figures and judges nothing.
package main

import "phase/appliance/base/program"

func main() { program.Main("benchstart", run) }
