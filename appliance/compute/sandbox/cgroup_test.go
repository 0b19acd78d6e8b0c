package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"phase/appliance/machine/linux"
)

// The words that make this binary what the test needs beside a worker.
const (
	wordDaemon = "daemon" // it was given a group, and starts workers in it
	wordFill   = "fill"   // a worker that fills a file in memory
)

// groupLimit is what the workers may use, in bytes.
const groupLimit = 64 << 20

// TestCgroup: who was given a control group holds its workers to their memory
// where RLIMIT_DATA does not, as a user without any privilege.
func TestCgroup(t *testing.T) {
	controllers, err := os.ReadFile(filepath.Join(linux.Cgroups, "cgroup.controllers"))
	if err != nil || !slices.Contains(strings.Fields(string(controllers)), "memory") {
		t.Skipf("this kernel has no memory controller in cgroup v2: %q, %v", controllers, err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give somebody a control group")
	}
	given := fmt.Sprintf("test-%d", os.Getpid())
	leaf, err := linux.DelegateMemory(linux.Cgroups, given, linux.DaemonGroup, nobody, nobody)
	if err != nil || leaf == "" {
		t.Fatalf("delegating: %q, %v", leaf, err)
	}
	left := filepath.Join(linux.Cgroups, given, workerGroup+"left")
	t.Cleanup(func() {
		if err := errors.Join(remove(leaf), remove(filepath.Dir(leaf))); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(left, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(leaf)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	daemon := exec.Command("/proc/self/exe", wordDaemon)
	daemon.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		UseCgroupFD: true, CgroupFD: int(dir.Fd()),
	}
	out, err := daemon.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const want = "16 MiB: lives, over its limit false\n" +
		"128 MiB: dies, over its limit true\n" +
		"128 MiB without a group: lives, over its limit false\n"
	if string(out) != want {
		t.Errorf("the workers: %s; want %s", out, want)
	}
	if over, err := os.ReadFile(filepath.Join(filepath.Dir(leaf), "cgroup.subtree_control")); err != nil || !bytes.Contains(over, []byte("memory")) {
		t.Errorf("%q, %v", over, err)
	}
	if groups, err := filepath.Glob(filepath.Join(filepath.Dir(leaf), workerGroup+"*")); err != nil || len(groups) > 0 {
		t.Errorf("groups are left: %q, %v", groups, err)
	}
}

func TestNoCgroupIsNone(t *testing.T) {
	var none *Cgroups
	g, err := none.New(groupLimit)
	if g != nil || err != nil || g.Limit(1) != nil || g.Killed() || g.Remove() != nil {
		t.Errorf("%v, %v", g, err)
	}
}

// startWorkers is what the daemon of the test does.
func startWorkers() error {
	groups, err := OpenCgroups()
	if err != nil || groups == nil {
		return fmt.Errorf("no group was given: %v", err)
	}
	for _, c := range []struct {
		name  string
		of    *Cgroups
		bytes int
	}{{"16 MiB", groups, 16 << 20}, {"128 MiB", groups, 128 << 20}, {"128 MiB without a group", nil, 128 << 20}} {
		group, err := c.of.New(1 << 30)
		if err == nil {
			err = group.Limit(groupLimit)
		}
		if err != nil {
			return err
		}
		ended, err := Start(&exec.Cmd{Path: "/proc/self/exe", Args: []string{"sandbox", wordFill, fmt.Sprint(c.bytes)}, Stderr: os.Stderr}, group)
		if err != nil {
			return err
		}
		how := "lives"
		if err := <-ended; err != nil {
			how = "dies"
		}
		fmt.Printf("%s: %s, over its limit %v\n", c.name, how, group.Killed())
		if err := group.Remove(); err != nil {
			return err
		}
	}
	return nil
}

// fillMemory is the life of the worker.
func fillMemory(bytes string) error {
	var n int64
	if _, err := fmt.Sscan(bytes, &n); err != nil {
		return err
	}
	if err := LimitData(groupLimit * 2); err != nil { // which is of no use here
		return err
	}
	f, err := MemoryFile("much")
	if err != nil {
		return err
	}
	for page := make([]byte, 1<<20); n > 0; n -= int64(len(page)) {
		if _, err := f.Write(page); err != nil {
			return err
		}
	}
	return nil
}
