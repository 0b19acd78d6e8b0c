package sandbox

import (
	"os"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"phase/appliance/machine/walls"
)

// running are the system calls of a Go program that runs a module.
var running = []string{
	// Files that are open already, and the module's streams.
	"read", "write", "readv", "writev", "pread64", "pwrite64", "close", "fcntl", "fstat", "lseek",
	"ftruncate", "fallocate", "fsync", "fdatasync", "ioctl",
	"recvmsg", "sendmsg", "recvfrom", "sendto", "shutdown", "memfd_create",
	"poll", "ppoll", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "pipe2",
	// Memory.
	"mmap", "munmap", "mprotect", "mremap", "madvise", "mincore", "brk",
	// Threads, signals to themselves, clocks.
	"futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "exit", "exit_group", "gettid", "getpid",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "getrandom",
	"timer_create", "timer_settime", "timer_delete", "setitimer",
	"getuid", "geteuid", "getgid", "getegid", "getrlimit", "setrlimit", // limits can only be lowered
}

// reaching are those that find files by their paths, beneath the folders given.
var reaching = []string{
	"openat", "openat2", "newfstatat", "statx", "readlinkat", "getdents64", "fstatfs", "faccessat",
	"mkdirat", "unlinkat", "renameat", "renameat2", "linkat", "symlinkat", "utimensat", "fchmod",
	// Older names that only some architectures have.
	"unlink", "rmdir", "rename", "link", "symlink", "readlink",
}

// cloneThread is CLONE_THREAD: a thread of this process, no process.
const cloneThread = unix.CLONE_THREAD

// filter has the kernel refuse, with EPERM, every system call that is not
// listed; "" where the kernel has no seccomp.
func filter(folders bool) (wall string, err error) {
	names := slices.Clone(running)
	if folders {
		names = append(names, reaching...)
	}
	when := func(name string, argument uint32, is seccomp.Operation, value uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: argument, Operation: is, Value: value}}}
	}
	return walls.Filter(seccomp.Policy{
		DefaultAction: seccomp.ActionErrno,
		Syscalls: []seccomp.SyscallGroup{{
			// Its flags are in memory, where no filter can look. A C library,
			// in a build with cgo, then takes clone.
			Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS),
			Names:  []string{"clone3"},
		}, {
			Action: seccomp.ActionAllow,
			Names:  names,
			NamesWithCondtions: []seccomp.NameWithConditions{
				when("clone", 0, seccomp.BitsSet, cloneThread),
				when("tgkill", 0, seccomp.Equal, uint64(os.Getpid())),
				when("prlimit64", 0, seccomp.Equal, 0), // its own limits, which it can only lower
				when("prctl", 0, seccomp.Equal, unix.PR_SET_VMA),
			},
		}},
	})
}
