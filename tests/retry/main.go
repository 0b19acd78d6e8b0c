// Command retry runs go test and gives each failed test a second chance. What
// passes only then goes into a list of flaky tests; what fails twice, and what
// fails outside a test, fails the run.
package main

import "phase/appliance/base/program"

func main() { program.Main("retry", run) }
