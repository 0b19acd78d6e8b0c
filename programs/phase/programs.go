package main

import (
	"phase/appliance/base/program"
	"phase/programs/discover"
	"phase/programs/fetch"
	"phase/programs/kexec"
	"phase/programs/net"
	"phase/programs/plasmd"
	"phase/programs/update"
	"phase/programs/verify"
)

// programs by the name they are called by.
var programs = map[string]program.Run{
	"discover": discover.Run,
	"fetch":    fetch.Run,
	"kexec":    kexec.Run,
	"net":      net.Run,
	"plasmd":   plasmd.Run,
	"update":   update.Run,
	"verify":   verify.Run,
}
