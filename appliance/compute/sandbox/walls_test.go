package sandbox

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// behindTheWalls is what a worker that was taken over would try. It is given
// the folders that may be written, "" for none, and prints what went through.
func behindTheWalls(args []string) {
	dir := args[0]
	var openings []Opening
	if dir != "" {
		f, err := os.Open(dir)
		if err != nil {
			fmt.Println("opening:", err)
			os.Exit(1)
		}
		openings = append(openings, Opening{Dir: f})
	}
	walls, err := Enter(openings)
	if err != nil {
		fmt.Println("entering:", err)
		os.Exit(1)
	}
	fmt.Println("walls", strings.Join(walls, ","))
	if err := startThreads(); err != nil {
		fmt.Println("threads:", err)
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"reads a file", func() error { _, err := os.ReadFile("/etc/passwd"); return err }},
		{"lists a folder", func() error { _, err := os.ReadDir("/"); return err }},
		{"writes a file", func() error { return os.WriteFile(filepath.Join(os.TempDir(), "walls"), nil, 0o600) }},
		{"reads its parent's memory", func() error { _, err := os.Open(fmt.Sprintf("/proc/%d/mem", os.Getppid())); return err }},
		{"reads inside", func() error { _, err := os.ReadFile(filepath.Join(dir, "file")); return err }},
		{"writes inside", func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) }},
		{"makes a TCP socket", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }},
		{"makes a raw socket", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, 1); return err }},
		{"makes a Unix socket", func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
		{"starts a program", func() error { return exec.Command("/proc/self/exe", "-h").Run() }},
		{"replaces itself", func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) }},
		{"signals its parent", func() error { return syscall.Kill(os.Getppid(), 0) }},
		{"traces its parent", func() error { return unix.PtraceSeize(os.Getppid()) }},
		{"makes a namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
		{"mounts", func() error { return unix.Mount("none", "/mnt", "tmpfs", 0, "") }},
		{"becomes root", func() error { return syscall.Setuid(0) }},
		{"raises a limit", func() error {
			return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		}},
		{"loads a kernel", func() error { return unix.KexecFileLoad(-1, -1, "", unix.KEXEC_FILE_UNLOAD) }},
		{"loads a BPF program", func() error { _, _, no := unix.Syscall(unix.SYS_BPF, 0, 0, 0); return denied(no) }},
		{"uses io_uring", func() error { _, _, no := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return denied(no) }},
	} {
		if err := c.do(); err == nil {
			fmt.Println("may", c.name)
		}
	}
	os.Exit(0)
}

// startThreads starts more than Go has left from before the walls. What goes
// wrong with that ends the process.
func startThreads() error {
	var all, up sync.WaitGroup
	end := make(chan struct{})
	for range 32 {
		up.Add(1)
		all.Go(func() {
			runtime.LockOSThread()
			up.Done()
			<-end
		})
	}
	up.Wait()
	n := pprof.Lookup("threadcreate").Count()
	close(end)
	all.Wait()
	if n < 32 {
		return fmt.Errorf("only %d were started", n)
	}
	return nil
}

// denied is nil where the kernel looked at the call at all.
func denied(no syscall.Errno) error {
	if no == unix.EPERM || no == unix.ENOSYS {
		return no
	}
	return nil
}

func enter(t *testing.T, dir string) (walls []string, may []string) {
	t.Helper()
	var out strings.Builder
	ended, err := Start(&exec.Cmd{Path: "/proc/self/exe", Args: []string{"sandbox", "worker", dir}, Stdout: &out, Stderr: &out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("the worker: %v: %s", err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSpace(line)
		if names, ok := strings.CutPrefix(line, "walls "); ok {
			walls = strings.Split(names, ",")
		} else if name, ok := strings.CutPrefix(line, "may "); ok {
			may = append(may, name)
		} else {
			t.Errorf("the worker says %q", line)
		}
	}
	return walls, may
}

func TestNothingIsReachedFromBehindTheWalls(t *testing.T) {
	walls, may := enter(t, "")
	t.Log(walls)
	if !slices.Contains(walls, "seccomp") {
		t.Skip("this kernel has no seccomp")
	}
	if len(may) > 0 {
		t.Errorf("a worker without folders %q", may)
	}
	if os.Geteuid() == 0 && !slices.Contains(walls, "uid 65534") {
		t.Errorf("a worker of root is behind %q", walls)
	}
}

func TestNothingButItsFolderIsReachedFromBehindTheWalls(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	walls, may := enter(t, dir)
	t.Log(walls)
	landlock := slices.ContainsFunc(walls, func(w string) bool { return strings.HasPrefix(w, "landlock") })
	if !slices.Contains(walls, "seccomp") || !landlock {
		t.Skip("this kernel lacks a wall that the test is about")
	}
	if want := []string{"reads inside", "writes inside"}; !slices.Equal(may, want) {
		t.Errorf("a worker with a folder %q, want %q", may, want)
	}
}

func TestChannel(t *testing.T) {
	ours, file, err := NewChannel()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := OpenChannel(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Seal("text", strings.NewReader("sealed"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	large := strings.Repeat("x", 1<<20)
	go func() {
		ours.Send(nil)
		ours.Send([]byte(large), text.File(), text.File())
		ours.Send([]byte("too long"), text.File())
		ours.Close()
	}()
	if body, files, err := theirs.Receive(0, 0); len(body) != 0 || len(files) != 0 || err != nil {
		t.Errorf("an empty message: %q, %v", body, err)
	}
	body, files, err := theirs.Receive(1<<20, 2)
	if string(body) != large || len(files) != 2 || err != nil {
		t.Fatalf("%d bytes, %d files, %v", len(body), len(files), err)
	}
	for _, f := range files {
		s, err := Received(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Map(func(b []byte) error {
			if string(b) != "sealed" {
				t.Errorf("the file holds %q", b)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		s.Close()
	}
	if _, files, err := theirs.Receive(7, 1); err == nil || len(files) != 0 {
		t.Error("a message over the limit was received")
	}
	if _, _, err := theirs.Receive(8, 1); err == nil {
		t.Error("a channel that has ended goes on")
	}
}

func TestSealedFilesCannotChange(t *testing.T) {
	s, err := Seal("text", strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.File().WriteAt([]byte("x"), 0); err == nil {
		t.Error("it was written")
	}
	if err := s.File().Truncate(0); err == nil {
		t.Error("it was cut")
	}
	// Who holds a writable mapping could change it after it was looked at.
	open, err := MemoryFile("open")
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Mmap(int(open.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	if _, err := SealFile(open); err == nil {
		t.Error("a file with a writable mapping was sealed")
	}
	plain, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := Received(plain); err == nil {
		t.Error("a file on disk counts as sealed")
	}
}
