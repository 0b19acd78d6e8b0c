// Images makes, examines and flashes images of Phase.
package main

import (
	"phase/appliance/program"
	"phase/images"
)

func main() { program.Main("images", images.Run) }
