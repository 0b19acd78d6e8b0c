// Packaging makes packages of Phase for distributions.
package main

import (
	"phase/appliance/base/program"
	"phase/packaging"
)

func main() { program.Main("packaging", packaging.Run) }
