package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be the service: SERVICE says which.
func TestMain(m *testing.M) {
	switch os.Getenv("SERVICE") {
	case "":
		os.Exit(m.Run())
	case "says":
		fmt.Println("one")
		fmt.Fprintln(os.Stderr, "two")
		fmt.Print("no newline")
	case "fails":
		os.Exit(3)
	case "dies":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-terminated()
	case "stays":
		fmt.Println("up as", os.Args[0], os.Getuid(), os.Getgid())
		<-terminated()
	case "spawns": // a child that holds the pipe, and ends itself
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{"SERVICE=stays"}
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Println("child", cmd.Process.Pid)
	case "reads": // what it was handed on
		text, err := io.ReadAll(os.NewFile(3, "handed on"))
		fmt.Printf("read %q, %v\n", text, err)
	case "orphans":
		fmt.Println("gone")
	}
}

func terminated() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	return c
}

// heard collects the lines of a set and lets a test wait for one.
type heard struct {
	mu    sync.Mutex
	lines []string
	grown chan struct{}
}

func newSet(t *testing.T) (*Set, *heard) {
	h := &heard{grown: make(chan struct{}, 1000)}
	set := &Set{Line: func(service, text string) {
		h.mu.Lock()
		h.lines = append(h.lines, service+": "+text)
		h.mu.Unlock()
		h.grown <- struct{}{}
	}}
	t.Cleanup(func() { set.Stop() })
	return set, h
}

// wait returns the first line that holds want.
func (h *heard) wait(t *testing.T, want string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		h.mu.Lock()
		for _, l := range h.lines {
			if strings.Contains(l, want) {
				h.mu.Unlock()
				return l
			}
		}
		h.mu.Unlock()
		select {
		case <-h.grown:
		case <-deadline:
			t.Fatalf("no line with %q in %q", want, h.lines)
		}
	}
}

func service(name, does string) Service {
	return Service{Name: name, Path: "/proc/self/exe", Env: []string{"SERVICE=" + does}}
}

func TestLinesAndRestart(t *testing.T) {
	set, h := newSet(t)
	if err := set.Start(service("talker", "says")); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "talker: one")
	h.wait(t, "talker: two")
	h.wait(t, "talker: no newline")
	h.wait(t, "ended by itself after")
	lines, err := set.Lines("talker")
	if err != nil || !strings.Contains(strings.Join(lines, "|"), "one|") {
		t.Errorf("ring %q, %v", lines, err)
	}
	if err := set.Start(service("talker", "says")); err == nil {
		t.Error("the same name runs twice")
	}
	if _, err := set.Lines("nobody"); err == nil {
		t.Error("lines of nobody")
	}
}

func TestHowItEnded(t *testing.T) {
	for does, want := range map[string]string{"fails": "exit code 3", "dies": "signal 9"} {
		set, h := newSet(t)
		if err := set.Start(service(does, does)); err != nil {
			t.Fatal(err)
		}
		h.wait(t, want)
	}
	set, h := newSet(t)
	if err := set.Start(Service{Name: "none", Path: "/does/not/exist"}); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "could not be started")
}

func TestAsSomebodyElse(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	set, h := newSet(t)
	s := service("worker", "stays")
	s.Path = exeForAll(t)
	s.UID, s.GID = 900, 901
	if err := set.Start(s); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "up as worker 900 901")
	status := set.Status()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", status[0].PID))
	if err != nil || !strings.Contains(string(data), "CapEff:\t0000000000000000") {
		t.Errorf("it has capabilities, or none is known: %v", err)
	}
}

// A service begins in the control group that the table names.
func TestInAGroup(t *testing.T) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	root := regexp.MustCompile(`(?m)^\S+ (\S+) cgroup2 `).FindSubmatch(mounts)
	if root == nil || os.Getuid() != 0 {
		t.Skip("needs root, and cgroup v2 to be mounted")
	}
	group, err := os.MkdirTemp(string(root[1]), "test-")
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) {
		t.Skipf("no control group can be made here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	set, h := newSet(t)
	s := service("worker", "stays")
	s.Cgroup = group
	if err := set.Start(s); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "up as worker")
	in, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", set.Status()[0].PID))
	if err != nil || !strings.Contains(string(in), "/"+filepath.Base(group)+"\n") {
		t.Errorf("it is in %q, %v", in, err)
	}
	set.Stop()
	for deadline := time.Now().Add(time.Minute); ; {
		if err := os.Remove(group); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	s.Name, s.Cgroup = "nowhere", group
	if err := set.Start(s); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "could not be started")
}

func exeForAll(t *testing.T) string {
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp("", "service")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(f.Name()) })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestStop(t *testing.T) {
	set, h := newSet(t)
	for _, name := range []string{"first", "second", "third"} {
		if err := set.Start(service(name, "stays")); err != nil {
			t.Fatal(err)
		}
		h.wait(t, name+": up as")
	}
	set.Stop("second")
	if left := set.Status(); len(left) != 1 || left[0].Name != "second" || left[0].PID == 0 {
		t.Errorf("left %+v", left)
	}
	pid := set.Status()[0].PID
	set.Stop()
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("it runs after Stop")
	}
	if len(set.Status()) != 0 {
		t.Error("services after Stop")
	}
}

// What others send their last messages over is spared, and stopped after them; of
// those that are stopped together nobody waits for another.
func TestStopSpares(t *testing.T) {
	set, h := newSet(t)
	for _, name := range []string{"speaks", "carries", "speaks too"} {
		if err := set.Start(service(name, "stays")); err != nil {
			t.Fatal(err)
		}
		h.wait(t, name+": up as")
	}
	pid := set.Status()[1].PID
	set.Stop("carries", "nobody")
	if left := set.Status(); len(left) != 1 || left[0].Name != "carries" || left[0].PID != pid {
		t.Errorf("spared: %+v", left)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("what was spared: %v", err)
	}
	set.Stop()
	if left := set.Status(); len(left) != 0 {
		t.Errorf("not stopped: %+v", left)
	}
}

func TestRestart(t *testing.T) {
	set, h := newSet(t)
	if err := set.Start(service("hangs", "stays")); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "up as")
	if err := set.Restart("hangs"); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "signal 9")
	if err := set.Restart("nobody"); err == nil {
		t.Error("nobody was restarted")
	}
}

// What a service started must not outlive it, nor hold its restart up.
func TestWorkersDieToo(t *testing.T) {
	set, h := newSet(t)
	if err := set.Start(service("parent", "spawns")); err != nil {
		t.Fatal(err)
	}
	line := h.wait(t, "child ")
	pid, err := strconv.Atoi(line[strings.LastIndex(line, " ")+1:])
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return // gone already
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
	}
	if n != 1 {
		t.Errorf("the child runs on: %v", err)
	}
	h.wait(t, "ended by itself")
}

// An orphan is taken in; a child that somebody waits for is left alone.
func TestReap(t *testing.T) {
	set, _ := newSet(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"SERVICE=orphans"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its end, without taking it in: WNOWAIT.
	var info [128]byte
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, 1, uintptr(cmd.Process.Pid), uintptr(unsafe.Pointer(&info)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno == 0 {
			break
		}
		if errno != syscall.EINTR {
			t.Fatal(errno)
		}
	}
	if z := zombies(os.Getpid()); len(z) != 1 || z[0] != cmd.Process.Pid {
		t.Fatalf("zombies %v, want %d", z, cmd.Process.Pid)
	}
	set.Reap()
	if z := zombies(os.Getpid()); len(z) != 0 {
		t.Errorf("zombies %v after Reap", z)
	}
}
