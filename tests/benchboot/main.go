// Command benchboot times how a machine comes up, beside what it is built on:
// our disk image until plasmd serves, gokrazy's own hello image until its first
// program runs, one after the other on the same emulated machine, several times.
// It prints medians and ratios and judges nothing.
package main

import "phase/appliance/base/program"

func main() { program.Main("benchboot", run) }
