package linux

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	if os.Args[0] == guardName { // this binary, started by StartGuard
		for { // until it is killed
			_ = unix.Pause()
		}
	}
}

// TestGuard: EndGuard ends the guard that was started, and nobody else.
func TestGuard(t *testing.T) {
	if ended, err := EndGuard(); ended || err != nil {
		t.Errorf("without a guard: %v, %v", ended, err)
	}
	t.Setenv(guardVariable, "") // and back afterwards
	if err := StartGuard(); err != nil {
		t.Fatal(err)
	}
	pid := os.Getenv(guardVariable)
	if ended, err := EndGuard(); !ended || err != nil {
		t.Fatal(ended, err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(mustPID(t, pid), &status, 0, nil); err != nil || status.Signal() != unix.SIGKILL {
		t.Errorf("the guard ended by %v, %v", status, err)
	}
	if ended, err := EndGuard(); ended || err != nil {
		t.Errorf("a second time: %v, %v", ended, err)
	}
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Setenv(guardVariable, strconv.Itoa(other.Process.Pid))
	if ended, err := EndGuard(); ended || err != nil {
		t.Errorf("with the number of another process: %v, %v", ended, err)
	}
	if err := other.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("another process was ended: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err == nil {
		t.Error("it was not killed")
	}
	for _, bad := range []string{"", "x", "0", "1", "-1"} {
		t.Setenv(guardVariable, bad)
		if ended, err := EndGuard(); ended || err != nil {
			t.Errorf("%s=%s: %v, %v", guardVariable, bad, ended, err)
		}
	}
}

func mustPID(t *testing.T, text string) int {
	t.Helper()
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
