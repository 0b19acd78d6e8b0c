// Images makes, examines and flashes images of Phase.
package main

import (
	"phase/appliance/base/program"
	"phase/images"
)

func main() { program.Main("images", images.Run) }
