// Command wrapper stands in the place of /user/phase in a release that is broken,
// and is it in all but one thing: fault, which the linker sets.
package main

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const real = "/user/phase.real"

var fault string

func main() {
	args := os.Args
	switch name := filepath.Base(args[0]); {
	case fault == "no-network" && name == "net":
		for { // a select without a case would be a deadlock, which Go ends
			<-time.After(time.Hour)
		}
	case fault == "plasmd-ends" && name == "plasmd":
		os.Exit(1)
	case fault == "no-peers" && name == "plasmd":
		args = append(args, "--network", "off")
	case fault == "intruder" && name == "plasmd":
		intrude()
	}
	if err := syscall.Exec(real, args, os.Environ()); err != nil {
		os.Exit(1)
	}
}
