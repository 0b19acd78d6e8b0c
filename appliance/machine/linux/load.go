package linux

import (
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"phase/appliance/machine/firmware"
	"phase/appliance/machine/kexecplan"

	"golang.org/x/sys/unix"
)

// Load hands a kernel, not compressed, and its initrd to kexec_load(2). Nothing
// happens until Jump.
func (Running) Load(kernel, initrd Part, cmdline string) error {
	if err := LoadAllowed(); err != nil {
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
	return kexecLoad(plan)
}

// Unload forgets a kernel that was loaded and gives its memory back.
func (Running) Unload() error {
	if err := kexecLoad(kexecplan.Plan{}); err != nil {
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

// Map makes the bytes readable where they lie; not after unmap.
func (p Part) Map() (data []byte, unmap func(), err error) {
	// A mapping begins where a page does.
	skip := p.At % int64(os.Getpagesize())
	pages, err := unix.Mmap(int(p.File.Fd()), p.At-skip, int(skip+p.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return pages[skip:], func() { _ = unix.Munmap(pages) }, nil // it fails for what is no mapping only
}

// kexecSegment is struct kexec_segment of kexec_load(2).
type kexecSegment struct {
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

// kexecLoad loads a plan; an empty one unloads what was loaded before.
func kexecLoad(p kexecplan.Plan) error {
	list := make([]kexecSegment, len(p.Segments), len(p.Segments)+1)
	for i, s := range p.Segments {
		list[i] = kexecSegment{unsafe.SliceData(s.Data), uint64(len(s.Data)), s.At, s.Size}
	}
	_, _, errno := unix.Syscall6(unix.SYS_KEXEC_LOAD, uintptr(p.Entry), uintptr(len(list)), uintptr(unsafe.Pointer(unsafe.SliceData(list))), 0, 0, 0)
	runtime.KeepAlive(list)
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("kexec_load: %w%s", errno, loadHints[errno])
}
