// Package walls builds walls around a running program: which part of the file
// system it reaches and which system calls it may make. The kernel enforces them,
// for this process and all it starts, whoever its user is; none can be removed.
// Confine is for the daemons of a node. A worker, which runs other people's code,
// has narrower ones: package compute/sandbox builds them of the same parts.
package walls

import (
	"fmt"
	"os"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// NoNewPrivileges sees to it that no program that this one starts gains anything.
func NoNewPrivileges() (wall string, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("giving up new privileges: %w", err)
	}
	return "no-new-privileges", nil
}

// Reach is what a program keeps of the file system: what lies in these folders. A
// folder that is not there is left out.
type Reach struct {
	Read, Write []string
	// Network leaves it TCP, and the sockets of other programs in those folders.
	Network bool
	// Starts is for one that starts programs, and has to end them.
	Starts bool
}

// scopesSignals is the first ABI with which a program behind a wall that takes
// signals away can still end what it has started. Before it the kernel walls in each
// thread by itself, and one thread may signal no process that another has started.
const scopesSignals = 8

// Restrict takes everything else away, and signals and abstract sockets to all but
// what this program starts (from ABI 6; signals with Starts from ABI 8). The wall is
// "" where the kernel has no Landlock.
func (r Reach) Restrict() (wall string, err error) {
	abi, err := landlocksys.LandlockGetABIVersion()
	if err != nil || abi <= 0 {
		return "", nil
	}
	read, write := landlock.RODirs(folders(r.Read)...), landlock.RWDirs(folders(r.Write)...).WithRefer()
	config := landlock.V9.BestEffort()
	if !r.Network {
		err = config.Restrict(read, write)
	} else if err = config.RestrictPaths(read.WithResolveUnix(), write.WithResolveUnix(), landlock.RWFiles("/dev/null").IgnoreIfMissing()); err == nil {
		if r.Starts && abi < scopesSignals {
			config = landlock.MustConfig(landlock.ScopedSet(landlocksys.ScopeAbstractUnixSocket)).BestEffort()
		}
		err = config.RestrictScoped()
	}
	if err != nil {
		return "", fmt.Errorf("building the Landlock wall: %w", err)
	}
	return fmt.Sprintf("landlock %d", abi), nil
}

// folders are those of the list that are there.
func folders(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(path string) bool {
		info, err := os.Stat(path)
		return err != nil || !info.IsDir()
	})
}

// Filter has the kernel judge every system call of this process. Names that this
// architecture does not have are left out of the policy. The wall is "" where the
// kernel has no seccomp.
func Filter(p seccomp.Policy) (wall string, err error) {
	if !seccomp.Supported() {
		return "", nil
	}
	here, err := arch.GetInfo("")
	if err == nil {
		for i := range p.Syscalls {
			p.Syscalls[i].Names = slices.DeleteFunc(slices.Clone(p.Syscalls[i].Names), func(name string) bool {
				_, known := here.SyscallNames[name]
				return !known
			})
		}
		err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: p})
	}
	if err != nil {
		return "", fmt.Errorf("building the seccomp wall: %w", err)
	}
	return "seccomp", nil
}
