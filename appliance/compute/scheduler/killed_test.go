package scheduler_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/daemon/api"
	"phase/tests/await"
)

// killed: a daemon that is killed in the middle of a run leaves no process.
func killed(t *testing.T, p *person, daemon *exec.Cmd) {
	t.Helper()
	client := api.NewClient(p.path("phase/plasmd.sock"))
	module, err := os.ReadFile(p.path("0.wasm")) // the endless loop
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan error, 1)
	go func() {
		_, err := client.Execute(t.Context(), offer(t, module, nil))
		lost <- err
	}()
	var problem error
	if err := await.Until(t.Context(), func() bool {
		node, err := client.Node(t.Context())
		problem = err
		return err != nil || node.Running == 1
	}); err != nil || problem != nil {
		t.Fatal(err, problem)
	}
	ends := running(t, p.path("plasmd"))
	if len(ends) < 2 {
		t.Errorf("%d processes while a module runs", len(ends))
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait() // it was killed
	if err := <-lost; err == nil {
		t.Error("a job of a daemon that was killed has a result")
	}
	for _, end := range ends {
		if err := end(); err != nil {
			t.Errorf("workers outlive the daemon: %v", err)
		}
	}
}

// running returns, for each process of a program, what waits for its end.
func running(t *testing.T, program string) (ends []func() error) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if of, err := os.Readlink(link); err != nil || of != program {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
		if err != nil {
			continue // it has ended
		}
		t.Cleanup(func() { unix.Close(fd) })
		ends = append(ends, func() error {
			for {
				n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(await.Patience.Milliseconds()))
				switch {
				case err == unix.EINTR:
				case err != nil:
					return err
				case n == 0:
					return fmt.Errorf("process %d has not ended within %v", pid, await.Patience)
				default:
					return nil
				}
			}
		})
	}
	return ends
}
