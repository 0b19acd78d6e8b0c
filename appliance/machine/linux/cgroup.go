package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Cgroups is where System mounts the kernel's control groups.
const Cgroups = "/sys/fs/cgroup"

// DaemonGroup is the name of the control group of a process that has been given
// the one above for the processes it starts. systemd does the same with
// Delegate=memory and DelegateSubgroup=daemon.
const DaemonGroup = "daemon"

// DelegateMemory makes a control group in which its owner may make groups of
// his own that limit memory, and in it one for the owner's first process, whose
// path it returns: a group that limits others may hold no process itself. The
// path is empty where the kernel has no memory controller in cgroup v2.
func DelegateMemory(root, name, first string, uid, gid int) (string, error) {
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(strings.Fields(string(controllers)), "memory") {
		return "", nil
	}
	owned := filepath.Join(root, name)
	leaf := filepath.Join(owned, first)
	for _, step := range []func() error{
		func() error { return allowMemory(root) },
		func() error { return os.Mkdir(owned, 0o755) },
		func() error { return allowMemory(owned) },
		func() error { return os.Mkdir(leaf, 0o755) },
		// To make groups in it, and to start processes in those.
		func() error { return os.Chown(owned, uid, gid) },
		func() error { return os.Chown(filepath.Join(owned, "cgroup.procs"), uid, gid) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return "", fmt.Errorf("making the control group %s: %w", name, err)
	}
	return leaf, nil
}

// allowMemory lets the groups in a group limit their memory.
func allowMemory(group string) error {
	f, err := os.OpenFile(filepath.Join(group, "cgroup.subtree_control"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("+memory")
	return errors.Join(err, f.Close())
}
