package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"phase/appliance/machine/linux"
)

// Cgroups is the part of the kernel's tree of control groups (cgroup v2) that
// was given to this process for its workers, with the memory controller.
type Cgroups struct {
	dir  string
	made atomic.Uint64
}

// workerGroup is what the names of workers' groups begin with.
const workerGroup = "worker-"

// OpenCgroups returns what was given to this process: the group above its own,
// if that is called linux.DaemonGroup. It is nil where nothing was given, or
// the kernel has no memory controller to give. Groups that a process before
// this one has left are removed.
func OpenCgroups() (*Cgroups, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without control groups
	}
	if err != nil {
		return nil, fmt.Errorf("finding the control group: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && filepath.Base(own) == linux.DaemonGroup {
			return openCgroups(filepath.Join(linux.Cgroups, filepath.Dir(own)))
		}
	}
	return nil, nil
}

func openCgroups(dir string) (*Cgroups, error) {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(strings.Fields(string(controllers)), "memory") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("finding the control group: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, workerGroup+"*"))
	if err != nil {
		return nil, fmt.Errorf("finding control groups that were left: %w", err)
	}
	for _, group := range left {
		_ = os.Remove(group) // one with a process that still dies stays, and does no harm
	}
	return &Cgroups{dir: dir}, nil
}

// Cgroup limits all memory of one worker: RLIMIT_DATA does not count files in
// memory, shared mappings, or what the kernel holds for a process. A nil Cgroup
// limits nothing, and none of its methods fails.
type Cgroup struct{ dir *os.File }

// New makes a group for a worker, which may use so many bytes. The nil Cgroups
// makes none.
func (c *Cgroups) New(limit uint64) (*Cgroup, error) {
	if c == nil {
		return nil, nil
	}
	path := filepath.Join(c.dir, fmt.Sprintf("%s%d-%d", workerGroup, os.Getpid(), c.made.Add(1)))
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, fmt.Errorf("making a control group: %w", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a control group: %w", err), remove(path))
	}
	g := &Cgroup{dir}
	if err := g.Limit(limit); err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

// Limit says how many bytes the worker may use from now on. Over that, the
// kernel kills it.
func (g *Cgroup) Limit(bytes uint64) error {
	if g == nil {
		return nil
	}
	if err := g.write("memory.max", strconv.FormatUint(bytes, 10)); err != nil {
		return err
	}
	// Swap would be memory beyond the limit; a kernel without swap has no such
	// file.
	if err := g.write("memory.swap.max", "0"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Killed says whether the kernel has killed the worker for its memory.
func (g *Cgroup) Killed() bool {
	if g == nil {
		return false
	}
	kills, err := memoryKills(filepath.Join(g.dir.Name(), "memory.events"))
	return err == nil && kills > 0 // the machine's own count is asked, too
}

// Remove removes the group of a worker that has ended.
func (g *Cgroup) Remove() error {
	if g == nil {
		return nil
	}
	return errors.Join(g.dir.Close(), remove(g.dir.Name()))
}

// enter makes a process start in the group, so that all its memory is counted
// there.
func (g *Cgroup) enter(attr *syscall.SysProcAttr) {
	if g != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.dir.Fd())
	}
}

func (g *Cgroup) write(file, value string) error {
	// Not os.WriteFile: these files are there or not, and are never made.
	f, err := os.OpenFile(filepath.Join(g.dir.Name(), file), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("limiting a control group: %w", err)
	}
	return nil
}

// remove removes a group, which the kernel may hold for a moment after its last
// process was waited for.
func remove(dir string) (err error) {
	for range 100 {
		if err = os.Remove(dir); err == nil || !errors.Is(err, syscall.EBUSY) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}
