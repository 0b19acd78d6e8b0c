package linux

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory are the figures of /proc/meminfo that decisions need, in bytes.
type Memory struct {
	Total     int64
	Available int64 // what can be used without swapping, by the kernel's own estimate, less what only pages that move may use
}

// ReadMemory asks the kernel.
func ReadMemory() (Memory, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Memory{}, fmt.Errorf("asking for free memory: %w", err)
	}
	return ParseMemory(data)
}

// ParseMemory reads the text of /proc/meminfo (proc_meminfo(5)): lines of
// "Name:  123 kB", where kB means 1024 bytes. The kernel counts as available
// what is set aside for devices (CmaFree, where there is such a thing): programs
// may use it meanwhile, another kernel cannot be loaded into it.
func ParseMemory(meminfo []byte) (Memory, error) {
	var m Memory
	var aside int64
	wanted := map[string]*int64{"MemTotal": &m.Total, "MemAvailable": &m.Available, "CmaFree": &aside}
	for line := range bytes.Lines(meminfo) {
		name, rest, ok := strings.Cut(string(line), ":")
		into := wanted[name]
		if !ok || into == nil {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || unit != "kB" || n < 0 || n > 1<<42 {
			return Memory{}, fmt.Errorf("/proc/meminfo: %q is no size of %s", strings.TrimSpace(rest), name)
		}
		*into = n << 10
		delete(wanted, name)
	}
	delete(wanted, "CmaFree")
	for name := range wanted {
		return Memory{}, fmt.Errorf("/proc/meminfo does not say %s", name)
	}
	m.Available = max(0, m.Available-aside)
	return m, nil
}

// DropCaches gives back the page cache and what hangs on it. It frees nothing
// that the kernel would not free by itself under pressure, but loading a kernel
// takes pages in a way that does not wait for that.
func DropCaches() error {
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("dropping the page cache: %w", err)
	}
	return nil
}
