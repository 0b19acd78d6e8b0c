package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"phase/tests/onkernel"
)

// This binary is its own worker: it says what it was given.
func TestMain(m *testing.M) {
	if onkernel.Here() {
		onkernel.Run(m)
	}
	word := ""
	if len(os.Args) > 1 {
		word = os.Args[1]
	}
	var err error
	switch word {
	case "worker":
	case wordDaemon:
		err = startWorkers()
	case wordSpin:
		for err = LimitTime(time.Second); err == nil; { // until it is killed
		}
	case wordFill:
		err = fillMemory(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if word != "worker" {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 {
		behindTheWalls(os.Args[2:])
	}
	if err := errors.Join(limits(), LimitData(WithDetector(512<<20))); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	open, _ := os.ReadDir("/proc/self/fd")
	for _, d := range open {
		// Go itself polls, reads how much processor its cgroup has, and lists
		// this directory.
		target, err := os.Readlink("/proc/self/fd/" + d.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/sys/fs/cgroup/") {
			fmt.Println("fd", d.Name(), target)
		}
	}
	fmt.Println("environment", len(os.Environ()))
	if session, err := unix.Getsid(0); err == nil && session == os.Getpid() {
		fmt.Println("leads a session")
	}
	for _, file := range []string{"/proc/self/status", "/proc/self/limits", "/proc/self/oom_score_adj"} {
		text, _ := os.ReadFile(file)
		fmt.Printf("%s\n", text)
	}
	if m, err := Reserve(WithDetector(4 << 30)); err != nil || m.Grow(1<<20) == nil || m.Grow(WithDetector(1<<30)) != nil {
		fmt.Println("memory over the limit was given", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestWorkerInheritsNothing(t *testing.T) {
	// A descriptor without close-on-exec, as a careless parent leaves it.
	leak, err := syscall.Open("/etc/hostname", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	t.Setenv("SECRET", "1")
	var out strings.Builder
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"sandbox", "worker"}, Stdout: &out}
	ended, err := Start(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("the worker: %v: %s", err, out.String())
	}
	for _, want := range []string{"environment 0\n", "leads a session\n", "NoNewPrivs:\t1\n", "Max core file size        0 ", fmt.Sprintf("Max data size             %d ", WithDetector(512<<20)), "\n1000\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the worker does not say %q: %s", want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if fd, ok := strings.CutPrefix(line, "fd "); ok && fd[0] > '2' {
			t.Errorf("the worker inherited descriptor %s", fd)
		}
	}
}

// wordSpin makes this binary a process that never ends by itself.
const wordSpin = "spin"

// TestLimitTime: the time that counts is the processor's, not the wall's.
func TestLimitTime(t *testing.T) {
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"sandbox", wordSpin}}
	ended, err := Start(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL || took < time.Second/2 { // the kernel counts ticks
		t.Errorf("%v after %v of the processor", cmd.ProcessState, took)
	}
}

func TestStartNamesWhatCannotStart(t *testing.T) {
	if _, err := Start(&exec.Cmd{Path: "/does/not/exist"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start: %v", err)
	}
}

func TestMemory(t *testing.T) {
	m, err := Reserve(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	b := m.Grow(64 << 10)
	b[0] = 7
	b = m.Grow(1 << 20)
	if len(b) != 1<<20 || b[0] != 7 || b[1<<20-1] != 0 {
		t.Error("growing moved or dirtied the memory")
	}
	if m.Grow(1<<20+1) != nil {
		t.Error("grew past what was reserved")
	}
	none, err := Reserve(0)
	if err != nil || none.Grow(0) == nil {
		t.Errorf("a memory that may have nothing: %v", err)
	}
}

func TestOutOfMemoryKillsCanBeRead(t *testing.T) {
	if _, err := OutOfMemoryKills(); err != nil {
		t.Error(err)
	}
}
