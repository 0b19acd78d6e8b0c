package main

import (
	"phase/appliance/program"
	"phase/programs/discover"
	"phase/programs/fetch"
	"phase/programs/net"
	"phase/programs/plasmd"
	"phase/programs/verify"
)

// programs by the name they are called by.
var programs = map[string]program.Run{
	"discover": discover.Run,
	"fetch":    fetch.Run,
	"net":      net.Run,
	"plasmd":   plasmd.Run,
	"verify":   verify.Run,
}
