package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"phase/appliance/machine/walls"
)

// Opening is a folder that stays open behind the walls.
type Opening struct {
	Dir      *os.File
	ReadOnly bool
}

// nobody is the uid and gid of a worker that a privileged node starts.
const nobody = 65534

// Enter builds the walls around this process, before it reads an
// untrusted byte, and returns the names of those it has built. A wall that this
// kernel does not have is left out; one that it has and refuses is an error. No
// wall can be removed.
//
//	process            a process of its own, with no environment and no
//	                   descriptor but its own, which dies with its node
//	rlimit             RLIMIT_DATA, RLIMIT_CORE, RLIMIT_NOFILE
//	no-new-privileges  no program it starts gains anything
//	uid 65534          a node that is root starts its workers as nobody, or,
//	                   where they are given folders, without the capabilities
//	capabilities       that do not concern files
//	landlock N         no file but those under the openings, no TCP, and from
//	                   ABI 6 no signal or abstract socket to anyone outside
//	seccomp            the system calls that running a module takes; none that
//	                   names a path where there is no opening
//
// The process that started it adds "cgroup memory" if there is one (see Cgroup).
func Enter(openings []Opening) ([]string, error) {
	built := []string{"process", "rlimit"}
	if err := limits(); err != nil {
		return nil, err
	}
	reach := walls.Reach{}
	for _, o := range openings {
		if o.ReadOnly {
			reach.Read = append(reach.Read, pathOf(o.Dir))
		} else {
			reach.Write = append(reach.Write, pathOf(o.Dir))
		}
	}
	for _, build := range []func() (string, error){
		walls.NoNewPrivileges,
		func() (string, error) { return dropPrivileges(len(openings) > 0) },
		reach.Restrict,
		func() (string, error) { return filter(len(openings) > 0) },
	} {
		wall, err := build()
		if err != nil {
			return nil, err
		}
		if wall != "" {
			built = append(built, wall)
		}
	}
	return built, nil
}

// pathOf is a path that opens the same file again, even if the file was moved
// since.
func pathOf(file *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(file.Fd())) }

// dropPrivileges changes from root to the user nobody. A worker with folders keeps its uid and
// the capabilities by which root reads and writes the files of others: the
// folders were given by root.
func dropPrivileges(folders bool) (string, error) {
	if os.Geteuid() != 0 {
		return "", nil
	}
	if folders {
		return "capabilities", keepCapabilities(1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER)
	}
	// Go's calls act on all threads.
	err := syscall.Setgroups([]int{})
	if err == nil {
		err = syscall.Setresgid(nobody, nobody, nobody)
	}
	if err == nil {
		err = syscall.Setresuid(nobody, nobody, nobody)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		// Root may not do so, or its user namespace has no such user: it keeps
		// its uid and loses its capabilities.
		return "capabilities", keepCapabilities(0)
	}
	if err != nil {
		return "", fmt.Errorf("becoming nobody: %w", err)
	}
	// A change of uid clears the signal that is sent when the parent dies.
	if _, _, no := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0); no != 0 {
		return "", fmt.Errorf("asking to die with the node: %w", no)
	}
	return fmt.Sprintf("uid %d", nobody), nil
}

// keepCapabilities drops all capabilities of all threads but those of the set,
// which is of the first 32.
func keepCapabilities(set uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	if err := unix.Capget(&header, &now[0]); err != nil {
		return fmt.Errorf("reading the capabilities: %w", err)
	}
	kept := [2]unix.CapUserData{{Effective: set & now[0].Permitted, Permitted: set & now[0].Permitted}}
	_, _, no := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&kept[0])), 0)
	if no != 0 {
		return fmt.Errorf("dropping capabilities: %w", no)
	}
	return nil
}
