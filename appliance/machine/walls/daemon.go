package walls

import (
	"slices"
	"strings"

	seccomp "github.com/elastic/go-seccomp-bpf"
)

// machineCalls are the system calls by which a program changes the machine, looks
// into other programs or reaches parts of the kernel that a daemon has no use for.
var machineCalls = []string{
	"kexec_load", "kexec_file_load", "reboot", "init_module", "finit_module", "delete_module",
	"mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "chroot",
	"swapon", "swapoff", "acct", "quotactl", "mknod", "mknodat",
	"settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname",
	"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise",
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"setns", "unshare", "keyctl", "add_key", "request_key", "syslog", "iopl", "ioperm", "personality",
	"open_by_handle_at", "name_to_handle_at", "fanotify_init", "lookup_dcookie", "vhangup", "nfsservctl",
}

// Daemon is what a daemon of a node may do.
type Daemon struct {
	Read  []string // folders that it reads, and runs programs from
	Write []string // folders whose content it changes
	May   []string // machineCalls that are its work
	// Starts is for one that starts programs, and has to end them.
	Starts bool
}

// Confine builds walls around this process and all it starts, and returns the names
// of those built. One that this kernel does not have is left out; one that it has
// and refuses is an error.
//
//	no-new-privileges  no program it starts gains anything
//	landlock N         no file but those, no socket of a program beyond them, and
//	                   from ABI 6 no signal to anyone but what it started
//	                   (from ABI 8 for one that starts programs)
//	seccomp            none of machineCalls but those that are its work
func (d Daemon) Confine() (walls []string, err error) {
	for _, build := range []func() (string, error){NoNewPrivileges, Reach{Read: d.Read, Write: d.Write, Network: true, Starts: d.Starts}.Restrict, d.filter} {
		wall, err := build()
		if err != nil {
			return nil, err
		}
		if wall != "" {
			walls = append(walls, wall)
		}
	}
	return walls, nil
}

func (d Daemon) filter() (string, error) {
	refused := slices.DeleteFunc(slices.Clone(machineCalls), func(name string) bool { return slices.Contains(d.May, name) })
	return Filter(seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, Names: refused}},
	})
}

// HasLandlock says whether the wall around files is among those built: without it
// a program may change what its user may.
func HasLandlock(walls []string) bool {
	return slices.ContainsFunc(walls, func(wall string) bool { return strings.HasPrefix(wall, "landlock ") })
}
