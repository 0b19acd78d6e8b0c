package netlab

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// nobody is the user of tests of what a person does, where the test is root's: the
// files of root are those of a node.
const nobody = 65534

// BecomeNobody gives up root for good, in a process that runs for this test alone
// (Isolated), and raises its loopback before. The folder becomes nobody's.
func BecomeNobody(t *testing.T, dir string) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.Chown(dir, nobody, nobody)); err == nil {
		err = errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody))
	}
	if err != nil {
		t.Fatal(err)
	}
}
