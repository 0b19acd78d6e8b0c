package main

import (
	"phase/appliance/program"
	"phase/programs/verify"
)

// programs by the name they are called by.
var programs = map[string]program.Run{
	"verify": verify.Run,
}
