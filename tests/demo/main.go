// Command demo shows what Phase is for, in machines that boot: one brings the
// next up, and is not needed any more. It ends with an error at the first
// thing that did not happen.
package main

import "phase/appliance/base/program"

func main() { program.Main("demo", run) }
