package linux

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AddEntropy mixes bytes that nothing else knows into the kernel's random
// numbers and counts it as random: struct rand_pool_info and RNDADDENTROPY of
// linux/random.h. At most 512 bytes.
func AddEntropy(secret []byte) error {
	const max = 512
	if len(secret) == 0 || len(secret) > max {
		return fmt.Errorf("seeding the kernel with %d bytes", len(secret))
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("seeding the kernel: %w", err)
	}
	defer f.Close()
	info := make([]byte, 8, 8+max)
	binary.NativeEndian.PutUint32(info, uint32(len(secret)*8))
	binary.NativeEndian.PutUint32(info[4:], uint32(len(secret)))
	info = append(info, secret...)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0])))
	runtime.KeepAlive(info)
	if errno != 0 {
		return fmt.Errorf("seeding the kernel: %w", errno)
	}
	return nil
}

// GatherEntropy returns when the kernel has random numbers to give. Asking is
// also what makes it begin to gather them from its own jitter, on a machine
// that has no better source.
func GatherEntropy() error {
	if _, err := unix.Getrandom(make([]byte, 1), 0); err != nil {
		return fmt.Errorf("waiting for random numbers: %w", err)
	}
	return nil
}
