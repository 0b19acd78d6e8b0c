// Package onkernel lets the tests of a package be the only program of a machine,
// on the kernel of a node (tests/machines/kernel_test.go).
package onkernel

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/machine/linux"
)

// Here says whether this process is the first of a machine.
func Here() bool { return os.Getpid() == 1 }

// Run runs the tests, says so, and ends the machine: it does not return. System
// file systems are mounted before.
func Run(m *testing.M) {
	errs := linux.MountAll(linux.System)
	fmt.Println("tests on this kernel:", errors.Join(errs...))
	code := m.Run()
	fmt.Println("tests on this kernel have ended with code", code)
	unix.Sync()
	fmt.Println(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	select {}
}
