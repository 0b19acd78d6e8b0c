// Package kexecload hands a kernel and its initrd to the running kernel, laid out
// in the memory of this machine (kexec_load(2)). Entering it is the work of
// package linux.
package kexecload

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"phase/appliance/machine/firmware"
	"phase/appliance/machine/kexecplan"
	"phase/appliance/machine/linux"

	"golang.org/x/sys/unix"
)

// Running is the kernel this program runs on.
type Running struct{}

// Load loads a kernel, not compressed, and its initrd. Nothing happens until
// linux.Running.Jump.
func (Running) Load(kernel, initrd linux.Part, cmdline string) error {
	if err := linux.LoadAllowed(); err != nil {
		return err
	}
	// Mapped, not read: the kernel copies from where the files lie, and that is
	// the only copy.
	code, unmap, err := kernel.Map()
	if err != nil {
		return fmt.Errorf("mapping the kernel: %w", err)
	}
	defer unmap()
	archive, unmap, err := initrd.Map()
	if err != nil {
		return fmt.Errorf("mapping the initrd: %w", err)
	}
	defer unmap()
	plan, err := planFor(code, archive, cmdline)
	if err != nil {
		return err
	}
	return load(plan)
}

// Unload forgets a kernel that was loaded and gives its memory back.
func (Running) Unload() error {
	if err := load(kexecplan.Plan{}); err != nil {
		return fmt.Errorf("unloading the kernel: %w", err)
	}
	return nil
}

// planFor lays a kernel out in the memory of the machine this runs on.
func planFor(kernel, initrd []byte, cmdline string) (kexecplan.Plan, error) {
	seed := make([]byte, 64)
	_, _ = rand.Read(seed) // never fails (crypto/rand)
	if runtime.GOARCH == "arm64" {
		m, err := firmware.ReadARM64("/")
		if err != nil {
			return kexecplan.Plan{}, err
		}
		m.Seed = seed
		return m.Plan(kernel, initrd, cmdline)
	}
	m, err := firmware.ReadX86("/")
	if err != nil {
		return kexecplan.Plan{}, err
	}
	m.Seed = seed
	return m.Plan(kernel, initrd, cmdline)
}

// segment is struct kexec_segment of kexec_load(2).
type segment struct {
	data *byte
	have uint64 // bytes of data
	at   uint64
	size uint64
}

// loadHints say what an error of kexec_load means.
var loadHints = map[syscall.Errno]string{
	unix.EPERM:         "; only root may load a kernel",
	unix.ENOMEM:        "; there is not enough memory",
	unix.EINVAL:        "; it would take more than half of the memory, or a part of it cannot lie where it should",
	unix.EADDRNOTAVAIL: "; the memory it was to lie in is not there",
	unix.ENOSYS:        "; this kernel has no kexec_load",
}

// load loads a plan; an empty one unloads what was loaded before.
func load(p kexecplan.Plan) error {
	list := make([]segment, len(p.Segments), len(p.Segments)+1)
	for i, s := range p.Segments {
		list[i] = segment{unsafe.SliceData(s.Data), uint64(len(s.Data)), s.At, s.Size}
	}
	_, _, errno := unix.Syscall6(unix.SYS_KEXEC_LOAD, uintptr(p.Entry), uintptr(len(list)), uintptr(unsafe.Pointer(unsafe.SliceData(list))), 0, 0, 0)
	runtime.KeepAlive(list)
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("kexec_load: %w%s", errno, loadHints[errno])
}
