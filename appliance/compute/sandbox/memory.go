package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Memory is a range of addresses of which only the part in use counts against
// RLIMIT_DATA and the machine's memory. It grows in place, so growing copies
// nothing, and a limit of 512 MiB costs a small job nothing on a machine that
// has less.
type Memory struct{ all []byte }

// Reserve takes a range of most bytes, none of which can be used yet.
func Reserve(most uint64) (*Memory, error) {
	// A mapping of no bytes is refused by the kernel.
	all, err := unix.Mmap(-1, 0, int(max(most, 1)), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserving %d bytes of addresses: %w", most, err)
	}
	// Pages of 2 MiB where that much is in use mean fewer page faults. A kernel
	// without them refuses, which does no harm.
	_ = unix.Madvise(all, unix.MADV_HUGEPAGE)
	return &Memory{all}, nil
}

// Grow makes the first size bytes usable, zeroed where they are new, and
// returns them; nil when the process may not have that much.
func (m *Memory) Grow(size uint64) []byte {
	if size > uint64(len(m.all)) {
		return nil
	}
	if size > 0 {
		if err := unix.Mprotect(m.all[:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return nil
		}
	}
	return m.all[:size:size]
}

// Free gives the range back; no slice of it may be used any more.
func (m *Memory) Free() {
	if m.all != nil {
		_ = unix.Munmap(m.all) // cannot fail: m.all is what Mmap returned
		m.all = nil
	}
}
