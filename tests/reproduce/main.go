// Command reproduce builds releases and disk images twice from one commit, one
// root and one version, under conditions as unlike as this machine can make them,
// and compares every byte: make reproduce.
package main

import "phase/appliance/base/program"

func main() { program.Main("reproduce", run) }
