package walls

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"phase/tests/onkernel"
)

// wordConfined makes this binary a daemon behind its walls: what it may and may not
// do it prints.
const wordConfined = "confined"

// wordIdle makes it a program that does nothing until its input ends.
const wordIdle = "idle"

func TestMain(m *testing.M) {
	if onkernel.Here() {
		onkernel.Run(m)
	}
	if len(os.Args) == 2 && os.Args[1] == wordIdle {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	if len(os.Args) < 2 || os.Args[1] != wordConfined {
		os.Exit(m.Run())
	}
	if err := confined(os.Args[2], os.Args[3], os.Args[4], os.Args[5:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// unload forgets a kernel that was loaded: harmless, and only for who may load one.
func unload() error {
	_, _, no := unix.Syscall6(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0, 0, 0)
	if no != 0 {
		return no
	}
	return nil
}

// confined tries all that a daemon does, and all that it must not, with a folder it
// may read, one it may write, and one it knows nothing of.
func confined(read, write, other string, may []string) error {
	one, another := newThread(), newThread() // each gets a wall of its own from an old kernel
	walls, err := Daemon{Read: []string{read, "/proc", "/nowhere", "/lib", "/lib64", "/usr/lib"}, Starts: len(may) == 0, Write: []string{write, "/nowhere", filepath.Join(write, "no-folder")}, May: may}.Confine()
	if err != nil {
		return err
	}
	fmt.Println("walls", strings.Join(walls, ","))
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"+reads", func() error { _, err := os.ReadFile(filepath.Join(read, "file")); return err }},
		{"+writes", func() error { return os.WriteFile(filepath.Join(write, "new"), nil, 0o600) }},
		{"+renames", func() error { return os.Rename(filepath.Join(write, "new"), filepath.Join(write, "old")) }},
		{"+listens on TCP", func() error { l, err := net.Listen("tcp", "127.0.0.1:0"); return errors.Join(err, shut(l)) }},
		{"+listens on a unix socket", func() error {
			l, err := net.Listen("unix", filepath.Join(write, "s"))
			return errors.Join(err, shut(l))
		}},
		{"+uses /dev/null", func() error { f, err := os.OpenFile("/dev/null", os.O_RDWR, 0); return errors.Join(err, f.Close()) }},
		{"landlock writes where it reads", func() error { return os.WriteFile(filepath.Join(read, "new"), nil, 0o600) }},
		{"landlock reads elsewhere", func() error { _, err := os.ReadFile(filepath.Join(other, "file")); return err }},
		{"landlock writes elsewhere", func() error { return os.WriteFile(filepath.Join(other, "new"), nil, 0o600) }},
		{"landlock moves files out", func() error { return os.Rename(filepath.Join(write, "old"), filepath.Join(other, "old")) }},
		{"+ends what another thread has started", func() error { return end(filepath.Join(read, "program"), one, another) }},
		{"landlock signals its parent", func() error { return syscall.Kill(os.Getppid(), 0) }},
		{"loads a kernel", unload},
		{"loads a kernel from a file", func() error { return unix.KexecFileLoad(-1, -1, "", unix.KEXEC_FILE_UNLOAD) }},
		{"restarts the machine", func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }},
		{"mounts", func() error { return unix.Mount("none", write, "tmpfs", 0, "") }},
		{"makes a namespace", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"sets the clock", func() error { return unix.Settimeofday(&unix.Timeval{Sec: 1}) }},
		{"traces its parent", func() error { return unix.PtraceSeize(os.Getppid()) }},
		{"loads a BPF program", func() error { _, _, no := unix.Syscall(unix.SYS_BPF, 0, 0, 0); return denied(no) }},
		{"makes a device", func() error { return unix.Mknod(filepath.Join(write, "d"), unix.S_IFCHR|0o600, 259) }},
	} {
		name, must := strings.CutPrefix(c.name, "+")
		switch err := c.do(); {
		case must && err != nil:
			fmt.Println("may not", name, err)
		case !must && err == nil:
			fmt.Println("may", name)
		}
	}
	return nil
}

// thread has a thread of its own do things.
type thread chan func()

func newThread() thread {
	t := make(thread)
	go func() {
		runtime.LockOSThread()
		for do := range t {
			do()
		}
	}()
	return t
}

func (t thread) does(do func() error) (err error) {
	done := make(chan struct{})
	t <- func() { err = do(); close(done) }
	<-done
	return err
}

// end starts a program in one thread, and ends it from another.
func end(program string, one, another thread) error {
	cmd := exec.Command(program, wordIdle)
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer input.Close()
	if err := one.does(cmd.Start); err != nil {
		return err
	}
	err = another.does(cmd.Process.Kill)
	if err != nil {
		input.Close() // it ends by itself
	}
	_ = cmd.Wait() // it was killed
	return err
}

// denied is nil where the kernel looked at the call at all.
func denied(no syscall.Errno) error {
	if no == unix.EPERM || no == unix.ENOSYS {
		return no
	}
	return nil
}

func shut(l net.Listener) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// TestDaemonWall: a daemon behind its walls does its work and nothing else, as root
// too; one whose work it is to load kernels may do that as well.
// (TestWallsOnTheKernel runs this on a node's kernel, which has Landlock.)
func TestDaemonWall(t *testing.T) {
	loads := []string{"kexec_load"}
	for name, may := range map[string][]string{"that serves": nil, "that loads": loads} {
		t.Run(name, func(t *testing.T) {
			walls, did := behind(t, may)
			t.Log(walls)
			if !slices.Contains(walls, "seccomp") {
				if _, err := os.Stat("/proc/sys/kernel/seccomp"); err == nil {
					t.Fatal("this kernel has seccomp, and it is not among the walls")
				}
				t.Skip("this kernel has no seccomp")
			}
			if abi, err := landlocksys.LandlockGetABIVersion(); err == nil && abi > 0 && !HasLandlock(walls) {
				t.Error("this kernel has Landlock, and it is not among the walls")
			}
			if may != nil && unload() == nil { // and this process may
				i := slices.Index(did, "may loads a kernel")
				if i < 0 {
					t.Error("it may not load a kernel")
				} else {
					did = slices.Delete(did, i, i+1)
				}
			}
			for _, line := range did {
				abi, _ := landlocksys.LandlockGetABIVersion() // an error has 0
				starts := may == nil
				if starts && line == "may landlock signals its parent" && abi < scopesSignals || !starts && strings.HasPrefix(line, "may not ends ") {
					continue
				}
				if HasLandlock(walls) || !strings.HasPrefix(line, "may landlock ") {
					t.Error(line)
				}
			}
		})
	}
}

// behind runs a daemon behind its walls and returns those, and what it could do
// and should not, or the other way round.
func behind(t *testing.T, may []string) (walls, did []string) {
	t.Helper()
	read, write, other := t.TempDir(), t.TempDir(), t.TempDir()
	for _, file := range []string{filepath.Join(read, "file"), filepath.Join(other, "file"), filepath.Join(write, "no-folder")} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(read, "program"), program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/proc/self/exe", append([]string{wordConfined, read, write, other}, may...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Split(strings.TrimPrefix(lines[0], "walls "), ","), lines[1:]
}
