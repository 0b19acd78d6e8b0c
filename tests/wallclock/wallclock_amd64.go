package wallclock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	auxIgnore = 1  // AT_IGNORE
	auxVDSO   = 33 // AT_SYSINFO_EHDR

	// What a program starts with is on its stack: arguments, environment, and
	// what the kernel tells it.
	maxStack = 1 << 20
)

// filterThread stops what this thread starts at each call that asks for the date.
func filterThread() error {
	const (
		load, equal, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		number, arch     = 0, 4 // in struct seccomp_data
		argument         = 16
	)
	filter := []unix.SockFilter{
		{Code: load, K: arch},
		{Code: equal, K: unix.AUDIT_ARCH_X86_64, Jf: 7},
		{Code: load, K: number},
		{Code: equal, K: unix.SYS_TIME, Jt: 6},
		{Code: equal, K: unix.SYS_GETTIMEOFDAY, Jt: 5},
		{Code: equal, K: unix.SYS_CLOCK_GETTIME, Jf: 3},
		{Code: load, K: argument},
		{Code: equal, K: unix.CLOCK_REALTIME, Jt: 2},
		{Code: equal, K: unix.CLOCK_REALTIME_COARSE, Jt: 1},
		{Code: end, K: unix.SECCOMP_RET_ALLOW},
		{Code: end, K: unix.SECCOMP_RET_TRACE},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	return nil
}

// hideVDSO takes the address of the vDSO from a program that has just been
// loaded, so that it asks the kernel.
func hideVDSO(pid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &regs); err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	stack := make([]byte, maxStack)
	// The stack ends before that: the error is of no interest.
	n, _ := memory.ReadAt(stack, int64(regs.Rsp))
	if n == 0 {
		return unix.ESRCH // it was killed
	}
	word := func(i uint64) (uint64, bool) {
		if at := 8 * i; at+8 <= uint64(n) {
			return binary.LittleEndian.Uint64(stack[at:]), true
		}
		return 0, false
	}
	args, _ := word(0)
	i := args + 2 // the number, the arguments and a zero
	for {         // the environment and a zero
		value, ok := word(i)
		if !ok {
			return errors.New("the stack has no end of the environment")
		}
		i++
		if value == 0 {
			break
		}
	}
	for ; ; i += 2 {
		kind, ok := word(i)
		if !ok || kind == 0 {
			return errors.New("the kernel told it of no vDSO")
		}
		if kind == auxVDSO {
			_, err := memory.WriteAt(binary.LittleEndian.AppendUint64(nil, auxIgnore), int64(regs.Rsp+8*i))
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = unix.ESRCH
			}
			return err
		}
	}
}

// answer says the date to a process that has asked for it, instead of the kernel.
func answer(pid int, now time.Time) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &regs); err != nil {
		return err
	}
	put := func(at, seconds, rest uint64) error {
		if at == 0 {
			return nil
		}
		_, err := unix.PtracePokeData(pid, uintptr(at), binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, seconds), rest))
		return err
	}
	var err error
	seconds := uint64(now.Unix())
	regs.Rax = 0
	switch regs.Orig_rax {
	case unix.SYS_TIME:
		regs.Rax = seconds
		if regs.Rdi != 0 {
			_, err = unix.PtracePokeData(pid, uintptr(regs.Rdi), binary.LittleEndian.AppendUint64(nil, seconds))
		}
	case unix.SYS_GETTIMEOFDAY:
		err = put(regs.Rdi, seconds, uint64(now.Nanosecond()/1000))
	case unix.SYS_CLOCK_GETTIME:
		err = put(regs.Rsi, seconds, uint64(now.Nanosecond()))
	}
	if err != nil {
		return err
	}
	regs.Orig_rax = ^uint64(0) // no call is made
	return unix.PtraceSetRegs(pid, &regs)
}
