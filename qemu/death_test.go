package qemu

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMachinesDieWithTheirProcess kills a process that has a machine running, as an impatient person or a test's time limit
// does, and waits for QEMU to be gone.
func TestMachinesDieWithTheirProcess(t *testing.T) {
	if os.Getenv("PHASE_QEMU_CHILD") != "" {
		g := guestFor(t, ARM64)
		m, err := Start(context.Background(), Config{Arch: ARM64, MemoryMB: 256, Kernel: g.kernel, Initrd: g.initrd})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\npid %d\n", m.current().cmd.Process.Pid)
		select {}
	}
	guestFor(t, ARM64)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), "PHASE_QEMU_CHILD=1", "TMPDIR="+t.TempDir())
	out, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if s, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, err = strconv.Atoi(s)
			check(t, err)
		}
	}
	if pid == 0 {
		t.Fatal("the other process started no machine")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	check(t, err)
	defer unix.Close(fd)
	poll := func(limit time.Duration) int {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(limit.Milliseconds()))
		check(t, err)
		return n
	}
	if poll(0) != 0 {
		t.Fatal("QEMU is gone already")
	}
	check(t, child.Process.Kill())
	child.Wait()
	if poll(30*time.Second) == 0 {
		t.Errorf("QEMU (%d) outlives the process that started it", pid)
		unix.Kill(pid, unix.SIGKILL)
	}
}

func TestMachinesDieWithTheirContext(t *testing.T) {
	g := guestFor(t, ARM64)
	ctx, cancel := context.WithCancel(t.Context())
	m, err := Start(ctx, Config{Arch: ARM64, MemoryMB: 256, Kernel: g.kernel, Initrd: g.initrd})
	check(t, err)
	cancel()
	check(t, m.Wait(t.Context()))
	check(t, m.Close())
	if _, err := os.Stat(m.dir); !os.IsNotExist(err) {
		t.Errorf("its folder is still there: %v", err)
	}
}
